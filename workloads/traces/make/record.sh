#!/bin/sh
# Records all traces of this folder anew, into the folder $1 (the current one by default).
#   workloads/traces/make/record.sh /tmp/traces
set -e
make=$(cd "$(dirname "$0")" && pwd)
target=$(cd "${1:-.}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PYTHONHASHSEED=0 PERL_HASH_SEED=0 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C HOME="$work"

# Relative names, so that the traces' provenance is the same wherever they are made.
cp "$make"/* .
sh repository.sh repository
python3 functions.py > functions.c
python3 records.py > orders.json

allocsim record -o sqlite3.parquet -- sqlite3 :memory: ".read table.sql"
allocsim record -o perl.parquet -- perl lists.pl
PYTHONMALLOC=malloc allocsim record -o python.parquet -- /usr/bin/python3 -s -S documents.py
PYTHONMALLOC=malloc allocsim record -o buffers.parquet -- /usr/bin/python3 -s -S buffers.py
allocsim record -o git-log.parquet -- git -C repository --no-pager log -p --stat > log
allocsim record -o git-pack.parquet -- git -C repository pack-objects --all --threads=4 \
    --window=20 --no-reuse-delta ../pack < /dev/null
allocsim record -o gcc.parquet -- gcc -O2 -c -o functions.o functions.c
allocsim record -o jq.parquet -- jq -f orders.jq orders.json > totals.json
echo 'int main(void) { return 0; }' > main.c
allocsim record -o linked.parquet -- gcc -static -o main main.c functions.o -lm

mv gcc.1-cc1.parquet cc1.parquet
mv linked.*ld.bfd.parquet ld.parquet
for name in sqlite3 perl python buffers git-log git-pack cc1 jq ld; do
    mv "$name.parquet" "$target/$name.parquet"
done
