# Hands dm_text to a shell of root's. The text goes through a pipe: an argument would show in every
# listing of processes, and a here-document lies on the disk in some shells. The arguments say which
# process to look for the server from, and whose login it is.
if [ -n "${KSH_VERSION-}" ]; then
  dm_put() { print -rn -- "$1"; }
else
  dm_put() { printf %s "$1"; }
fi
dm_become() {
  trap ':' HUP PIPE
  dm_user=$(id -un)
  if [ "$(id -u)" = 0 ]; then
    dm_put "$dm_text" | sh -s -- "$$" "$dm_user" "$HOME"
  elif sudo -n true >/dev/null 2>&1; then
    dm_put "$dm_text" | sudo -n sh -s -- "$$" "$dm_user" "$HOME"
  else
    echo denied
  fi
}
dm_become
