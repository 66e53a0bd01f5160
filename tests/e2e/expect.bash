# Sourced by the end-to-end scripts: a work folder, removed at the end, a data set, and the check of a command.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
export OMP_NUM_THREADS=1

# black_cifar FOLDER IMAGES: a CIFAR-10 of black airplanes, IMAGES in each of its six files.
black_cifar() {
  local folder=$1 images=$2 file
  mkdir -p "$folder"
  for file in data_batch_{1..5}.bin test_batch.bin; do
    head -c $((images * 3073)) /dev/zero >"$folder/$file"
  done
  printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck >"$folder/batches.meta.txt"
}

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
