# Sourced by the end-to-end scripts: a work folder, removed at the end, and the check of a command.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
export OMP_NUM_THREADS=1

# expect CODE TEXT COMMAND...: the command ends with the code and says the text.
expect() {
  local code=$1 text=$2 output status
  shift 2
  output=$("$@" 2>&1)
  status=$?
  if [ $status -ne "$code" ] || [[ "$output" != *"$text"* ]]; then
    echo "FAILED: $*"
    echo "  wanted exit $code and: $text"
    echo "  got exit $status and: $output"
    failures=$((failures + 1))
  fi
}
