# Replaces the host key that this session's sshd presents and the key that lets the login user in;
# runs as root. Told by assignments: dm_host_private, dm_host_public, dm_client_public (new keys,
# whole), dm_host_old, dm_host_new, dm_client_old, dm_client_new (the base64 part of public keys).
# Arguments: a process of this session, its user, and that user's home. Prints `done`,
# `unsupported WHY` with nothing changed, or anything else as a failure.
#
# Where keys are is asked of the server itself: its own command line with `-T`.
umask 077
set -f
dm_newline='
'
if [ -n "${KSH_VERSION-}" ]; then
  dm_put() { print -rn -- "$1"; }
else
  dm_put() { printf %s "$1"; }
fi

dm_end() {
  dm_put "$1$dm_newline"
  exit 0
}

# Process $1: its parent, and its arguments in one line.
dm_parent() {
  if [ -r "/proc/$1/stat" ]; then
    read -r dm_stat <"/proc/$1/stat"
    set -- ${dm_stat##*) }
    dm_put "$2"
  else
    ps -o ppid= -p "$1" 2>/dev/null | tr -d ' '
  fi
}
dm_title() {
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -o args= -p "$1" 2>/dev/null
  fi
}

# The server of this session: dm_listener is the process that listens, if there is one, and
# dm_server its command line. Another server's files, those of the host of a container for one, must
# not be touched, so that every process from here up to it has to be one of sshd's.
dm_find_server() {
  dm_pid=$1
  dm_listener=
  dm_server=
  while dm_pid=$(dm_parent "$dm_pid") && [ -n "$dm_pid" ] && [ "$dm_pid" != 0 ]; do
    dm_words=$(dm_title "$dm_pid")
    case ${dm_words%% *} in
      sshd: | sshd-session: | sshd-auth:)
        # One that starts a server per connection listens for none.
        [ -n "$dm_server" ] || dm_server=$(command -v sshd || dm_put /usr/sbin/sshd)
        case $dm_words in 'sshd: /'*) ;; *) continue ;; esac
        dm_words=${dm_words#sshd: }
        ;;
      /*/sshd) ;;
      *) break ;;
    esac
    dm_server=${dm_words%%' [listener]'*}
    dm_listener=$dm_pid
    break
  done
  [ -n "$dm_server" ]
}

# The public key that belongs to private key file $1.
dm_public_of() {
  ssh-keygen -y -P '' -f "$1" 2>/dev/null </dev/null || cat "$1.pub" 2>/dev/null
}

# Sets dm_host_file to the file of the host key that we know, else of the only one of its kind.
dm_find_host_key() {
  dm_host_file=
  dm_kin=
  IFS=$dm_newline
  for dm_file in $(dm_put "$dm_settings" | sed -n 's/^hostkey //p'); do
    [ -f "$dm_file" ] || continue
    case $(dm_public_of "$dm_file") in
      *"$dm_host_old"* | *"$dm_host_new"*) dm_host_file=$dm_file ;;
      ssh-ed25519*) dm_kin="$dm_kin$dm_newline$dm_file" ;;
    esac
  done
  [ -n "$dm_host_file" ] || for dm_file in $dm_kin; do
    [ -z "$dm_host_file" ] || return 1
    dm_host_file=$dm_file
  done
  unset IFS
  [ -n "$dm_host_file" ]
}

# Sets dm_login_files to the files that say who may log in as the user.
dm_find_login_keys() {
  case $dm_user in '' | *[!A-Za-z0-9._-]*) return 1 ;; esac
  eval "dm_passwd_home=~$dm_user"
  case $dm_passwd_home in /*) dm_home=$dm_passwd_home ;; esac
  dm_login_files=
  for dm_file in $(dm_put "$dm_settings" | sed -n 's/^authorizedkeysfile //p'); do
    [ "$dm_file" != none ] || continue
    dm_file=$(dm_put "$dm_file$dm_newline" | sed "s|%h|$dm_home|g;s|%u|$dm_user|g;s|%%|%|g")
    case $dm_file in /*) ;; *) dm_file=$dm_home/$dm_file ;; esac
    dm_login_files="$dm_login_files $dm_file"
  done
  [ -n "$dm_login_files" ]
}

# Puts text $2 into file $1: whole or not at all, with the file's owner and mode as they were.
dm_replace() {
  [ ! -e "$1" ] || cp -p "$1" "$1.dormouse" || return 1
  dm_put "$2$dm_newline" >"$1.dormouse" && mv -f "$1.dormouse" "$1" || return 1
  if command -v restorecon >/dev/null; then restorecon "$1" || :; fi
}

# Takes the key from boot out of all files and puts the new one into the first; other lines stay.
dm_replace_login_keys() {
  dm_added=no
  for dm_file in $dm_login_files; do
    [ -e "$dm_file" ] || [ "$dm_added" = no ] || continue
    dm_kept=
    [ ! -e "$dm_file" ] || dm_kept=$(grep -v -F -e "$dm_client_old" -e "$dm_client_new" "$dm_file")
    if [ "$dm_added" = no ]; then
      dm_kept="$dm_kept${dm_kept:+$dm_newline}$dm_client_public"
      dm_added=yes
    fi
    if [ -e "$dm_file" ]; then
      dm_replace "$dm_file" "$dm_kept" || return 1
    else
      dm_replace "$dm_file" "$dm_kept" && chown "$dm_user" "$dm_file" || return 1
    fi
  done
}

dm_rekey() {
  # A lost connection must not stop it halfway.
  trap ':' HUP PIPE
  dm_user=$2
  dm_home=$3
  dm_find_server "$1" || dm_end 'unsupported: the session is not served by sshd'
  dm_settings=$($dm_server -T -C "user=$dm_user,host=localhost,addr=127.0.0.1" 2>/dev/null ||
    $dm_server -T 2>/dev/null) || dm_end 'unsupported: sshd does not tell its settings'
  dm_find_host_key || dm_end 'unsupported: no file holds the host key'
  dm_find_login_keys || dm_end 'unsupported: no file says who may log in'

  cp -p "$dm_host_file" "$dm_host_file.before" || dm_end 'the host key cannot be written'
  dm_replace "$dm_host_file" "$dm_host_private" || dm_end 'the host key cannot be written'
  if ! dm_said=$($dm_server -t 2>&1); then
    mv -f "$dm_host_file.before" "$dm_host_file"
    dm_end "sshd refuses the new host key: $dm_said"
  fi
  rm -f "$dm_host_file.before"
  if dm_replace "$dm_host_file.pub" "$dm_host_public"; then chmod 644 "$dm_host_file.pub"; fi
  dm_replace_login_keys || dm_end 'the authorized keys cannot be written'
  if [ -n "$dm_listener" ] && ! kill -s HUP "$dm_listener"; then
    dm_end 'sshd cannot be told of its new key'
  fi
  dm_end 'done'
}
dm_rekey "$@"
