# Puts the runner on the machine, together with what it must know of the machine. Sent to a shell's
# standard input; what stands between two @ is filled in. What follows says `ready`, and the shell then
# serves the first build: nothing here may change what a build would notice, the umask for one.
#
# Every process that a fresh machine has to start here keeps its first build waiting: programs are
# looked for and texts are written by the shell itself.
[ -d .dormouse ] || mkdir -m 700 .dormouse || exit 73
dm_file=.dormouse/@NAME@
# Not every Korn shell has printf built in.
if [ -n "${KSH_VERSION-}" ]; then
  dm_put() { print -rn -- "$1"; }
else
  dm_put() { printf %s "$1"; }
fi
# Where program $1 is, as dm_found.
dm_which() {
  dm_found=
  dm_fields=$IFS
  IFS=:
  for dm_path in $PATH; do
    case $dm_path in
      /*) [ -n "$dm_found" ] || [ ! -f "$dm_path/$1" ] || [ ! -x "$dm_path/$1" ] || dm_found=$dm_path/$1 ;;
    esac
  done
  IFS=$dm_fields
  # Some shells bring programs of their own.
  [ -n "$dm_found" ] || dm_found=$(command -v "$1")
}
dm_which sh
dm_sh=$dm_found
dm_which setsid
dm_session=$dm_found
[ -n "$dm_session" ] || ! command -v perl >/dev/null || dm_session=perl
[ -n "$dm_session" ] || ! command -v python3 >/dev/null || dm_session=python3
[ -n "$dm_session" ] || dm_session=none
dm_proc=no
[ -r /proc/self/stat ] && [ -r /proc/self/environ ] && [ -r /proc/self/fdinfo/0 ] && [ -r /proc/uptime ] &&
  [ -r /proc/loadavg ] && [ -r /proc/sys/kernel/random/boot_id ] && dm_proc=yes
dm_tail=plain
case $(tail --version 2>/dev/null) in
  *'GNU coreutils'*) command -v timeout >/dev/null && dm_tail=gnu ;;
esac
dm_statfs=no
dm_blocks=$(stat -f -c '%b %f %a %c %d' .dormouse 2>/dev/null)
case $dm_blocks in
  '' | *[!0-9\ ]*) dm_blocks= ;;
  *) dm_statfs=yes ;;
esac
{
  dm_put '@RUNNER@'
  echo "dm_sh='$dm_sh'"
  echo "dm_session='$dm_session'"
  echo "dm_proc=$dm_proc"
  echo "dm_tail=$dm_tail"
  echo "dm_statfs=$dm_statfs"
} >"$dm_file.$$" && mv -f "$dm_file.$$" "$dm_file" || exit 73
