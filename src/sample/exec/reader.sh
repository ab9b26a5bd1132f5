# Hands over to Python where there is one: $1. Else the same with the shell's own means, which need no process a reading:
# the clock is /proc/uptime, which counts in 10 ms, and of the longest file only the first lines are taken.
program=$1
root=$2
shift 2
if command -v python3 >/dev/null 2>&1; then exec python3 -I -S -c "$program" "$root" "$@"; fi
newline='
'
now() { IFS=' .' read -r seconds hundredths _ </proc/uptime && block="$block@time $seconds${hundredths}0000000$newline"; }
echo "@reader sh 10000000"
while IFS= read -r question; do
  block=
  now
  for name; do
    [ -r "$root/$name" ] || continue
    block="$block@file $name$newline"
    while IFS= read -r line; do
      block="$block$line$newline"
      case $line in inactive_file*) break ;; esac
    done <"$root/$name"
  done
  now
  echo "$block@end $question"
done
