# Asks the machine's metadata service (EC2's, version 2) every dm_interval seconds whether the
# machine is about to be taken back, and prints `notice JSON` when it is. Told by assignments: dm_url,
# dm_interval, dm_checks (how often a token may be used). Ends with status 69 when no program here
# speaks HTTP.
#
# This shell waits for the end of its input, which is the end of the channel, and then ends the other,
# which asks and sleeps. So nothing is left when the connection goes.
dm_newline='
'
if [ -n "${KSH_VERSION-}" ]; then
  dm_put() { print -rn -- "$1"; }
else
  dm_put() { printf %s "$1"; }
fi

dm_has() { command -v "$1" >/dev/null 2>&1; }

# Sets dm_tool. Of wget only GNU's can send a PUT. The others need to be told what to say.
dm_find_tool() {
  dm_tool=
  if dm_has curl; then
    dm_tool=curl
  elif dm_has wget && case $(wget --help 2>&1) in *--method*) ;; *) false ;; esac; then
    dm_tool=wget
  elif case $dm_url in http://*) false ;; esac; then
    return 1
  elif dm_has perl && perl -MIO::Socket::INET -e 1 2>/dev/null; then
    dm_tool=perl
  elif dm_has python3; then
    dm_tool=python3
  elif dm_has bash && dm_has timeout; then
    dm_tool=bash
  elif dm_has nc; then
    dm_tool=nc
  elif dm_has busybox && busybox nc --help >/dev/null 2>&1; then
    dm_tool='busybox nc'
  fi
  [ -n "$dm_tool" ]
}

# Sends request $1 (method, path, header) and prints the answer with its head. No proxy: the
# service is the machine's own.
dm_ask() {
  case $dm_tool in
    curl)
      curl -s -i -m 4 --noproxy '*' -X "$1" -H "$3" "$dm_url$2" 2>/dev/null </dev/null
      return
      ;;
    wget)
      wget -q -S -O - -T 4 -t 1 --no-proxy --method="$1" --header="$3" "$dm_url$2" 2>&1 </dev/null
      return
      ;;
  esac
  dm_rest=${dm_url#http://}
  dm_place=${dm_rest%%/*}
  dm_path=${dm_rest#"$dm_place"}$2
  dm_port=${dm_place##*:}
  [ "$dm_port" != "$dm_place" ] || dm_port=80
  dm_host=${dm_place%:*}
  printf '%s %s HTTP/1.0\r\nHost: %s\r\n%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' \
    "$1" "$dm_path" "$dm_place" "$3" | case $dm_tool in
    perl)
      perl -MIO::Socket::INET -e 'alarm 4; $s = IO::Socket::INET->new("$ARGV[0]:$ARGV[1]") or exit 1;
        $s->autoflush(1); undef $/; print $s scalar <STDIN>; print scalar <$s>' "$dm_host" "$dm_port"
      ;;
    python3)
      python3 -c 'import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 4)
s.sendall(sys.stdin.buffer.read())
while True:
    part = s.recv(4096)
    if not part: break
    sys.stdout.buffer.write(part)' "$dm_host" "$dm_port"
      ;;
    bash)
      timeout 4 bash -c 'exec 3<>"/dev/tcp/$0/$1" && cat >&3 && cat <&3' "$dm_host" "$dm_port"
      ;;
    *) $dm_tool -w 4 "$dm_host" "$dm_port" ;;
  esac 2>/dev/null
}

# Whether dm_answer is a success, from its first line.
dm_good() {
  case ${dm_answer%%"$dm_newline"*} in *HTTP/*' 200'*) ;; *) return 1 ;; esac
}

dm_token() {
  dm_answer=$(dm_ask PUT /latest/api/token 'X-aws-ec2-metadata-token-ttl-seconds: 21600')
  dm_good || return 1
  dm_token=${dm_answer##*"$dm_newline"}
  dm_left=$dm_checks
}

# One look; whether there is a notice.
dm_check() {
  [ "$dm_left" -gt 0 ] || dm_token || return 1
  dm_left=$((dm_left - 1))
  dm_answer=$(dm_ask GET /latest/meta-data/spot/instance-action "X-aws-ec2-metadata-token: $dm_token")
  case ${dm_answer%%"$dm_newline"*} in *HTTP/*' 401'*) dm_left=0 ;; esac
  dm_good || return 1
  dm_answer={${dm_answer#*\{}
  set -f
  set -- $dm_answer
  dm_put "notice $*$dm_newline"
}

dm_poll() {
  dm_sleep=
  trap '[ -z "$dm_sleep" ] || kill "$dm_sleep" 2>/dev/null; exit 0' TERM
  dm_left=0
  # Asks no longer than the shell that would end it lives.
  while kill -s 0 "$$" 2>/dev/null; do
    ! dm_check || return 0
    sleep "$dm_interval" &
    dm_sleep=$!
    wait "$dm_sleep"
    dm_sleep=
  done
}

dm_watch() {
  dm_find_tool || exit 69
  dm_poll </dev/null &
  while read -r dm_word; do :; done
  kill "$!" 2>/dev/null
  exit 0
}
dm_watch
