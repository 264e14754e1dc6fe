# Puts the runner on the machine, together with what it must know of the machine. Sent to a shell's
# standard input; @NAME@ and @RUNNER@ are filled in. What follows says `ready`, and the shell then
# serves the first build: nothing here may change what a build would notice, the umask for one.
[ -d .dormouse ] || mkdir -m 700 .dormouse || exit 73
dm_file=.dormouse/@NAME@
cat >"$dm_file.$$" <<'DORMOUSE_RUNNER_ENDS' || exit 73
@RUNNER@
DORMOUSE_RUNNER_ENDS
dm_sh=$(command -v sh)
dm_session=$(command -v setsid) || dm_session=$(command -v perl >/dev/null && echo perl) ||
  dm_session=$(command -v python3 >/dev/null && echo python3) || dm_session=none
dm_proc=no
[ -r /proc/self/stat ] && [ -r /proc/self/environ ] && [ -r /proc/self/fdinfo/0 ] && [ -r /proc/uptime ] &&
  [ -r /proc/loadavg ] && [ -r /proc/sys/kernel/random/boot_id ] && dm_proc=yes
dm_tail=plain
case $(tail --version 2>/dev/null) in
  *'GNU coreutils'*) command -v timeout >/dev/null && dm_tail=gnu ;;
esac
dm_statfs=no
case $(stat -f -c '%b %f %a %c %d' .dormouse 2>/dev/null) in
  '' | *[!0-9\ ]*) ;;
  *) dm_statfs=yes ;;
esac
dm_booted=0
dm_booted_id=
if [ "$dm_proc" = yes ]; then
  read -r dm_booted dm_rest </proc/uptime
  dm_booted=$(($(date +%s) - ${dm_booted%%.*}))
  read -r dm_booted_id </proc/sys/kernel/random/boot_id
fi
{
  echo "dm_sh='$dm_sh'"
  echo "dm_session='$dm_session'"
  echo "dm_proc=$dm_proc"
  echo "dm_tail=$dm_tail"
  echo "dm_statfs=$dm_statfs"
  echo "dm_booted=$dm_booted"
  echo "dm_booted_id='$dm_booted_id'"
} >>"$dm_file.$$" && mv -f "$dm_file.$$" "$dm_file" || exit 73
