#!/bin/sh
# Makes a repository in the folder $1: 250 commits of one author over 30 files, always the same.
set -e
git init -q -b main "$1"
cd "$1"
git config gc.auto 0
for commit in $(seq 250); do
    for file in $(seq $((commit % 5 + 1))); do
        name="file$((commit * file * 7 % 30)).txt"
        seq $((commit * 3)) $((commit * 3 + 40)) >> "$name"
        sed -i "$((commit % 9 + 1))s/^/commit $commit /" "$name"
    done
    git add .
    GIT_AUTHOR_DATE="$((1700000000 + commit)) +0000" GIT_COMMITTER_DATE="$((1700000000 + commit)) +0000" \
        git -c user.name=someone -c user.email=someone@example.org commit -q -m "Change $commit"
done
