# Dormouse's runner: everything that happens on a machine for a build, for any POSIX sh.
#
# A shell that reads its commands from an exec channel sources this file, is told what the attempt
# is by assignments, and then gets one call: `dm_start`, `dm_follow`, `dm_probe`, `dm_stop`,
# `dm_release` or `dm_discard`. Nothing of the build is ever in an argument list. A cut upload starts
# nothing: the call is the last line, and half of it does not pass for a call.
#
# Per attempt there is a directory, `.dormouse/ATTEMPT`, with these records:
#   claim   "pid birth boot ."  the supervisor; created exactly once (O_EXCL), so it is also the claim
#   step    "index pid ."       the step that runs, `-` for its pid when it has ended
#   code    "code ."            all steps are over; the exit code of the run
#   rc      "code length ."     the terminal record: the log is complete and this long
#   stop                        the attempt is to end: no further step begins
#   log     output of the steps with boundary marks between; step-N texts; work/ the directory
# Each record is one short write with an end mark, which saves a `mv` process for each: a reader
# that sees no end mark takes the record for not yet written.
#
# Processes of a trivial build: this shell, `mkdir`, supervisor and step loop (forks of this shell),
# `cat` (log writer), `tail` (follower), the step itself, `rm`. Output reaches the log through a pipe
# and not directly, because `echo x >/dev/stderr` in a step would reopen and truncate a file.
#
# Nothing that a step descends from is started with `&`: a shell without job control would make it
# ignore SIGINT and SIGQUIT for good. That is why the supervisor runs in a command substitution.
#
# Found by `prepare` and appended to this file: dm_sh (path of sh), dm_session (how to get a new
# session), dm_proc (whether there is a Linux /proc), dm_tail (whether tail is GNU's and has
# `timeout` beside it), dm_statfs (whether stat tells of file systems).

dm_home=$PWD/.dormouse
# How long a follow call may last before the caller must ask again: nothing that follows outlives a
# caller that vanished without a word by more than this.
dm_lease=60

# Writes a text as it is, in the shell process itself: not every Korn shell has printf built in.
if [ -n "${KSH_VERSION-}" ]; then
  dm_put() { print -rn -- "$1"; }
else
  dm_put() { printf %s "$1"; }
fi

# A line to the caller, beside the log.
dm_say() {
  dm_put "$1
" >&2
}

# A record: contents and an end mark.
dm_record() {
  dm_put "$2 .
" >"$dm_dir/$1"
}

# Start time of process $1 as dm_born; fails when it is gone or a zombie, which answers `kill -0`.
dm_birth() {
  dm_born=
  if [ "$dm_proc" = yes ]; then
    { read -r dm_stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # Behind the command's name come the state (3rd field of all) and, 20th from there, the start.
    set -- ${dm_stat##*) }
    case $1 in Z | X) return 1 ;; esac
    dm_born=${20}
  else
    dm_stat=$(ps -o stat= -o lstart= -p "$1" 2>/dev/null)
    case $dm_stat in '' | Z* | X*) return 1 ;; esac
    set -- $dm_stat
    dm_born=$3-$4-$5-$6
  fi
}

# The process that calls, which in a subshell is not $$: its number and start time.
dm_self() {
  if [ "$dm_proc" = yes ]; then
    read -r dm_pid dm_stat </proc/self/stat
    set -- ${dm_stat##*) }
    dm_born=${20}
  else
    dm_pid=$(exec "$dm_sh" -c 'echo "$PPID"')
    dm_birth "$dm_pid"
  fi
}

# Identity of the running boot.
dm_boot() {
  if [ "$dm_proc" = yes ]; then
    read -r dm_boot </proc/sys/kernel/random/boot_id
  else
    dm_boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null || sysctl -n kern.boottime 2>/dev/null)
    set -- $dm_boot
    dm_boot=${1-unknown}${4-}
  fi
}

# Not every kill takes `--`, and not every one takes a group without it.
if kill -s 0 -- "$$" 2>/dev/null; then dm_dashes=--; else dm_dashes=; fi

# Sends signal $1 to the processes, and with a minus before them the groups, that follow; whether
# any of them was there. Sends nothing to what is not a plain number above 1, since one stray -1
# among them would reach every process of the machine.
dm_send() {
  dm_send_signal=$1
  dm_send_result=1
  shift
  for dm_send_to in "$@"; do
    case ${dm_send_to#-} in
      '' | 0* | 1 | *[!0-9]*) ;;
      *) kill -s "$dm_send_signal" $dm_dashes "$dm_send_to" && dm_send_result=0 ;;
    esac
  done 2>/dev/null
  return "$dm_send_result"
}

dm_nap() { sleep 0.1 2>/dev/null || sleep 1; }

# Length of the log as dm_length.
dm_measure() {
  dm_length=0
  if [ -e "$dm_dir/log" ]; then
    set -- $(wc -c <"$dm_dir/log")
    dm_length=$1
  fi
}

# Where the attempt stands, as dm_is, with dm_pid for the supervisor.
dm_state() {
  dm_is=absent
  [ -e "$dm_dir/claim" ] || return 0
  dm_result && return 0
  dm_is=starting
  { read -r dm_pid dm_since dm_then dm_end <"$dm_dir/claim"; } 2>/dev/null
  [ "${dm_end-}" = . ] || return 0
  dm_boot
  if [ "$dm_then" != "$dm_boot" ]; then
    dm_is=rebooted
  elif dm_birth "$dm_pid" && [ "$dm_born" = "$dm_since" ]; then
    dm_is=running
  else
    # It may have finished between our two looks.
    dm_result || dm_is=lost
  fi
}

dm_result() {
  dm_end=
  { read -r dm_code dm_length dm_end <"$dm_dir/rc"; } 2>/dev/null
  [ "$dm_end" = . ] && dm_is=done
}

# One line on where the attempt stands.
dm_probe() {
  dm_dir=$dm_home/$dm_attempt
  dm_state
  case $dm_is in
    absent) dm_put "absent" ;;
    done) dm_put "done $dm_code $dm_length" ;;
    *)
      dm_measure
      dm_put "$dm_is $dm_length"
      ;;
  esac
}

# Starts the attempt unless it was started before; follows its log from offset $1. The word `whole`
# behind it shows that nothing of the attempt was cut off.
dm_start() {
  [ "${2-}" = whole ] || exit 65
  dm_dir=$dm_home/$dm_attempt
  [ -d "$dm_dir/work" ] || mkdir -p "$dm_dir/work" || exit 73
  exec 6>&1
  dm_said=$(dm_supervise "$1")
  case $dm_said in
    claimed) dm_follow "$1" ;;
    *) dm_report ;;
  esac
}

# In a process of its own: claims the attempt, runs it, writes its terminal record.
dm_supervise() {
  trap : HUP INT TERM
  dm_self
  dm_boot
  set -C
  if ! { dm_record claim "$dm_pid $dm_born $dm_boot"; } 2>/dev/null; then
    dm_put claimed
    return
  fi
  set +C
  exec 4>>"$dm_dir/log"
  dm_say started
  if [ "$dm_tail" = gnu ]; then
    tail -c "+$(($1 + 1))" -f --pid="$dm_pid" -s 0.05 "$dm_dir/log" </dev/null >&6 2>/dev/null 4>&- 6>&- &
  else
    dm_poll "$1" </dev/null >&6 4>&- 6>&- &
  fi
  exec </dev/null 2>/dev/null 6>&-
  dm_run 4>&- | cat >&4
  dm_end=
  { read -r dm_code dm_end <"$dm_dir/code"; } 2>/dev/null
  # The step loop was killed: without a result there must be no terminal record.
  [ "$dm_end" = . ] || return
  if [ "$dm_proc" = yes ]; then
    # Offset of the descriptor that the log's only writer shares with us.
    read -r dm_rest dm_length </proc/self/fdinfo/4
  else
    dm_measure
  fi
  dm_record rc "$dm_code $dm_length"
}

# A boundary in the log, which the caller takes out again.
dm_mark() {
  dm_put "$dm_control$dm_nonce $1
"
}

# Runs the steps; its output is the log.
dm_run() {
  trap : HUP INT TERM
  dm_failed=0
  dm_i=0
  while [ "$dm_i" -lt "$dm_steps" ] && [ ! -e "$dm_dir/stop" ]; do
    eval "dm_flags=\$dm_flags_$dm_i"
    case $dm_failed:$dm_flags in
      0:* | *always*) dm_step ;;
    esac
    dm_i=$((dm_i + 1))
  done
  dm_record code "$dm_failed"
  dm_mark "over $dm_failed"
}

dm_step() {
  dm_mark "begin $dm_i"
  # Half a script must not run: cut in the wrong place, it does something else.
  if eval "dm_put \"\$dm_text_$dm_i\"" >"$dm_dir/step-$dm_i"; then
    (dm_exec)
    dm_code=$?
  else
    dm_put "dormouse: cannot write the step's script; is the disk full?
"
    dm_code=73
  fi
  dm_leader=
  read -r dm_rest dm_leader dm_end <"$dm_dir/step"
  if dm_send 0 "-$dm_leader"; then dm_tidy; fi
  dm_record step "$dm_i -"
  dm_mark "end $dm_i $dm_code"
  case $dm_failed:$dm_code:$dm_flags in
    0:0:* | *continue*) ;;
    0:*) dm_failed=$dm_code ;;
  esac
}

# Becomes the step: a session of its own, so that all of it can be ended by its group.
dm_exec() {
  # Here and not at the call, where it would also take in what a shell says of a killed child.
  exec </dev/null 2>&1
  dm_self
  dm_record step "$dm_i $dm_pid"
  # Who stops the attempt says so first and looks for a step then: one of us sees the other.
  [ ! -e "$dm_dir/stop" ] || exit 143
  trap - HUP INT TERM
  cd "$dm_dir/work" || exit 73
  dm_environment
  "dm_environment_$dm_i"
  export DORMOUSE_ATTEMPT="$dm_attempt" DORMOUSE_STEP="$dm_i" DORMOUSE_MARK="$dm_attempt.$dm_i."
  case $dm_session in
    none) exec "$dm_sh" -e "$dm_dir/step-$dm_i" ;;
    perl) exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV or exit 127' "$dm_sh" -e "$dm_dir/step-$dm_i" ;;
    python3) exec python3 -c 'import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])' "$dm_sh" -e "$dm_dir/step-$dm_i" ;;
    *) exec "$dm_session" "$dm_sh" -e "$dm_dir/step-$dm_i" ;;
  esac
}

# Ends what a step left running in its group.
dm_tidy() {
  dm_send TERM "-$dm_leader"
  for dm_turn in 1 2 3 4 5 6 7 8 9 10; do
    dm_nap
    dm_send 0 "-$dm_leader" || return
  done
  dm_send KILL "-$dm_leader"
}

# Follows an attempt that was started before, from offset $1.
dm_follow() {
  dm_dir=$dm_home/$dm_attempt
  dm_turn=0
  while dm_state && [ "$dm_is" = starting ] && [ "$dm_turn" -lt 100 ]; do
    dm_turn=$((dm_turn + 1))
    dm_nap
  done
  [ "$dm_is" = absent ] || dm_say already
  [ "$dm_is" != running ] || [ ! -e "$dm_dir/code" ] || dm_say over
  case $dm_is:$dm_tail in
    absent:*) ;;
    running:gnu)
      timeout "$dm_lease" tail -c "+$(($1 + 1))" -f --pid="$dm_pid" -s 0.05 "$dm_dir/log" </dev/null 2>/dev/null
      ;;
    running:*) dm_poll "$1" </dev/null ;;
    *) [ ! -e "$dm_dir/log" ] || tail -c "+$(($1 + 1))" "$dm_dir/log" </dev/null 2>/dev/null ;;
  esac
  dm_report
}

# Copies the log from offset $1 on as it grows, until it is complete or the lease is over. The
# reading position is shared by all `cat`s, since it belongs to our descriptor.
dm_poll() {
  exec 3<"$dm_dir/log"
  dd bs=65536 count="$(($1 / 65536))" <&3 >/dev/null 2>&1
  [ "$(($1 % 65536))" = 0 ] || dd bs="$(($1 % 65536))" count=1 <&3 >/dev/null 2>&1
  dm_turn=0
  while cat <&3; do
    dm_state
    if [ "$dm_is" != running ]; then
      cat <&3
      return
    fi
    dm_turn=$((dm_turn + 1))
    if [ "$dm_turn" -ge "$((dm_lease * 10))" ]; then
      dm_say more
      return
    fi
    dm_nap
  done
}

# Says how it ended, or that the caller must ask again.
dm_report() {
  dm_state
  case $dm_is in
    done) dm_say "done $dm_code $dm_length" ;;
    absent) dm_say absent ;;
    running | starting) dm_say more ;;
    *)
      dm_measure
      dm_say "$dm_is $dm_length"
      ;;
  esac
}

# Ends step $1, or all of the attempt for `all`; forces after $2 tenths of a second.
dm_stop() {
  dm_dir=$dm_home/$dm_attempt
  [ -e "$dm_dir/claim" ] || return 0
  case $1 in
    all)
      dm_put "" >"$dm_dir/stop"
      dm_marker=$dm_attempt.
      ;;
    *) dm_marker=$dm_attempt.$1. ;;
  esac
  dm_turn=0
  dm_signal=TERM
  while dm_left "$1"; do
    # Once politely, then by force for as long as something is left.
    [ "$dm_turn" -lt "$2" ] || dm_signal=KILL
    if [ "$dm_turn" = 0 ] || [ "$dm_signal" = KILL ]; then dm_kill; fi
    [ "$dm_turn" -lt "$(($2 + 50))" ] || return 1
    dm_turn=$((dm_turn + 1))
    dm_nap
  done
}

# Ends the log of an attempt whose steps are over while a process that cannot be found holds the
# pipe open: without /proc, or with its environment cleared.
dm_release() {
  dm_dir=$dm_home/$dm_attempt
  [ -e "$dm_dir/code" ] && [ ! -e "$dm_dir/rc" ] || return 0
  dm_state
  [ "$dm_is" = running ] || return 0
  # The supervisor has one child left that is a `cat`: the log's writer.
  if [ "$dm_proc" = yes ]; then
    for dm_path in /proc/[0-9]*; do
      { read -r dm_number dm_name dm_rest dm_parent dm_stat <"$dm_path/stat"; } 2>/dev/null || continue
      [ "$dm_name:$dm_parent" != "(cat):$dm_pid" ] || dm_send TERM "$dm_number"
    done
  else
    set -- $(ps -A -o pid= -o ppid= -o comm=)
    while [ "$#" -ge 3 ]; do
      case $2:${3##*/} in "$dm_pid:cat") dm_send TERM "$1" ;; esac
      shift
    done
  fi
}

# Collects what step $1 (or `all`) left: its group's leader as dm_group, marked processes as
# dm_marked. Fails when there is nothing left.
dm_left() {
  dm_group=
  dm_end=
  { read -r dm_at dm_leader dm_end <"$dm_dir/step"; } 2>/dev/null
  if [ "$dm_end" = . ] && [ "$dm_leader" != - ]; then
    case $1 in all | "$dm_at") dm_group=$dm_leader ;; esac
  fi
  dm_find 0
  [ -n "$dm_marked" ] || dm_send 0 "-$dm_group" || dm_send 0 "$dm_group"
}

# A step that has not got its session yet is no group; then its process alone is it.
dm_kill() {
  dm_send "$dm_signal" "-$dm_group" || dm_send "$dm_signal" "$dm_group"
  dm_send "$dm_signal" $dm_marked
}

# Processes that carry dm_marker in their environment, as dm_marked: also those which left the group.
# $1 is a process that is older than all of them, 0 for any. A process that clears its environment
# is not found; on machines that matter, the end of the machine is the certain end.
dm_find() {
  dm_marked=
  if [ "$dm_proc" = yes ]; then
    dm_since=$1
    read -r dm_rest dm_rest dm_rest dm_rest dm_last </proc/loadavg
    # Process numbers have wrapped round.
    [ "$dm_last" -ge "$dm_since" ] || dm_since=0
    dm_files=
    for dm_path in /proc/[0-9]*; do
      [ "${dm_path#/proc/}" -le "$dm_since" ] || dm_files="$dm_files $dm_path/environ"
    done
    [ -n "$dm_files" ] || return 0
    for dm_path in $(grep -l -F "DORMOUSE_MARK=$dm_marker" $dm_files 2>/dev/null); do
      dm_path=${dm_path#/proc/}
      dm_number=${dm_path%/environ}
      # One that is dead and not yet collected counts as gone.
      ! dm_birth "$dm_number" || dm_marked="$dm_marked $dm_number"
    done
  elif [ -n "${dm_group-}" ]; then
    dm_descend
  fi
}

# Without /proc: all descendants of dm_group, as dm_marked.
dm_descend() {
  dm_family=" $dm_group "
  dm_all=$(ps -A -o pid= -o ppid= -o stat=)
  dm_grown=yes
  while [ "$dm_grown" = yes ]; do
    dm_grown=no
    set -- $dm_all
    while [ "$#" -ge 3 ]; do
      case "$dm_family:$3" in
        *:Z* | *" $1 "*) ;;
        *" $2 "*)
          dm_family="$dm_family$1 "
          dm_marked="$dm_marked $1"
          dm_grown=yes
          ;;
      esac
      shift 3
    done
  done
}

# Ends what is left of the attempt and removes its directory; says what is there all the same, and how
# full the machine is. What is said is what was looked at afterwards, also the second time round.
dm_discard() {
  dm_dir=$dm_home/$dm_attempt
  dm_marker=$dm_attempt.
  dm_group=
  dm_pid=0
  { read -r dm_pid dm_rest <"$dm_dir/claim"; } 2>/dev/null
  case $dm_pid in '' | *[!0-9]*) dm_pid=0 ;; esac
  [ -e "$dm_dir/rc" ] || dm_stop all 0
  dm_clear
  dm_remove 2>/dev/null
  dm_is=gone
  [ ! -e "$dm_dir" ] || dm_is=left
  dm_room
  dm_say "discarded $dm_is $dm_count $dm_disk $dm_inodes $dm_memory"
}

dm_remove() {
  [ -d "$dm_dir" ] || return 0
  rm -rf "$dm_dir" && return
  # Somebody was still writing there, or left directories that may not be written, or files of root.
  dm_nap
  chmod -R u+rwx "$dm_dir"
  rm -rf "$dm_dir" && return
  ! command -v sudo >/dev/null || sudo -n rm -rf "$dm_dir" </dev/null >/dev/null
}

# Ends the attempt's processes for as long as there are any; how many are left as dm_count, `?` where
# nobody can tell.
dm_clear() {
  dm_turn=0
  while :; do
    if ! dm_look; then
      dm_count='?'
      return
    fi
    set -- $dm_marked
    dm_count=$#
    [ "$dm_count" -gt 0 ] && [ "$dm_turn" -lt 50 ] || return 0
    dm_turn=$((dm_turn + 1))
    dm_send KILL "$@"
    dm_nap
  done
}

# Looks for the attempt's processes, as dm_marked; fails where they cannot be told from others.
dm_look() {
  if [ "$dm_proc" = yes ]; then
    # Everything of the attempt is younger than its supervisor.
    dm_find "$dm_pid"
    return 0
  fi
  # The BSD option `e` shows environments.
  dm_marked=$(ps axeww -o pid= -o stat= -o command= 2>/dev/null | dm_sift)
  case $dm_marked in *yes) ;; *) return 1 ;; esac
  dm_marked=${dm_marked% yes}
}

# The numbers of marked processes in a list with their environments, and whether there was a list.
dm_sift() {
  dm_seen=no
  while read -r dm_number dm_stat dm_rest; do
    dm_seen=yes
    case "$dm_stat $dm_rest" in
      Z*) ;;
      *"DORMOUSE_MARK=$dm_marker"*) dm_put " $dm_number" ;;
    esac
  done
  dm_put " $dm_seen"
}

# How full the machine is, in percent or `?`: the file system of the work directory as dm_disk, its
# inodes as dm_inodes, memory as dm_memory. $1 is what stat says of the file system, if it was asked.
dm_room() {
  if [ "$dm_statfs" = yes ]; then
    dm_blocks "${1-}"
  else
    dm_line=$(df -Pk "$dm_home" 2>/dev/null | dm_second)
    dm_disk=$(dm_last_word "${dm_line%%\%*}")
    # Some have columns for blocks before those for inodes.
    dm_line=$(df -Pi "$dm_home" 2>/dev/null | dm_second)
    dm_inodes=$(dm_last_word "${dm_line%\%*}")
  fi
  dm_used='?'
  if [ "$dm_proc" = yes ] && [ -r /proc/meminfo ]; then
    dm_total=
    dm_free=
    while read -r dm_name dm_number dm_rest; do
      case $dm_name in
        MemTotal:) dm_total=$dm_number ;;
        MemAvailable:)
          dm_free=$dm_number
          break
          ;;
      esac
    done </proc/meminfo
    dm_percent "$dm_total" "$dm_free" "$dm_free"
  fi
  dm_memory=$dm_used
}

# The file system's part of `dm_room`. What was found is good for two seconds, since builds that take
# less than that ask often: the file `room` has "uptime disk inodes ." of the last look.
dm_blocks() {
  dm_at=
  if [ "$dm_proc" = yes ]; then
    read -r dm_at dm_rest </proc/uptime
    dm_at=${dm_at%%.*}
    dm_then=
    dm_end=
    { read -r dm_then dm_disk dm_inodes dm_end <"$dm_home/room"; } 2>/dev/null
    case $1:$dm_then:$dm_end in
      :0?*:. | :*[!0-9]*:.) ;;
      :?*:.) case $((dm_at - dm_then)) in 0 | 1) return ;; esac ;;
    esac
  fi
  dm_said=$1
  [ -n "$dm_said" ] || dm_said=$(stat -f -c '%b %f %a %c %d' "$dm_home" 2>/dev/null)
  set -- $dm_said
  dm_percent "${1-}" "${2-}" "${3-}"
  dm_disk=$dm_used
  dm_percent "${4-}" "${5-}" "${5-}"
  dm_inodes=$dm_used
  [ -z "$dm_at" ] || dm_put "$dm_at $dm_disk $dm_inodes .
" 2>/dev/null >"$dm_home/room"
}

# Percent of what we may use that is in use, rounded up, as dm_used: of $1 in all, $2 are free, of
# which $3 are not kept for root.
dm_percent() {
  dm_used='?'
  [ -n "$1" ] && [ -n "$2" ] && [ -n "$3" ] || return 0
  case $1$2$3 in *[!0-9]*) return 0 ;; esac
  # Some shells count with 32 bits.
  while [ "${#1}" -gt 7 ]; do set -- "${1%?}" "${2%?}" "${3%?}"; done
  dm_taken=$((${1:-0} - ${2:-0}))
  dm_total=$((dm_taken + ${3:-0}))
  [ "$dm_total" -gt 0 ] || return 0
  dm_used=$(((dm_taken * 100 + dm_total - 1) / dm_total))
}

# The line behind the heading.
dm_second() {
  read -r dm_line && read -r dm_line && dm_put "$dm_line"
}

# The last word of $1 if that is a number.
dm_last_word() {
  dm_word=${1##*[ 	]}
  case $dm_word in
    '' | *[!0-9]*) dm_put '?' ;;
    *) dm_put "$dm_word" ;;
  esac
}
