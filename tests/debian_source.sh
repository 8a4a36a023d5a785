# PostgreSQL's sources from Debian's source package: sourced by tests/run.sh and tests/suites. No installation is changed.

# postgresql_archive FOLDER: prints the archive of the newest server that is installed, fetched into FOLDER.
postgresql_archive() {
    local folder=$1 major installed
    if [ -z "$(find "$folder" -name 'postgresql-*.orig.tar.*' 2>/dev/null)" ]; then
        major=$(ls /usr/lib/postgresql | sort -n | tail -n 1)
        mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
        # The machine's own sources, asked for source packages.
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb /deb-src /p' > "$folder/machine.list"
        cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed 's/^Types:.*/Types: deb-src/' > "$folder/machine.sources"
        local options=(-o "Dir::Etc::sourcelist=$folder/machine.list" -o "Dir::Etc::sourceparts=$folder/" -o "Dir::State::lists=$folder/lists"
            -o "Dir::Cache=$folder/cache")
        # Of the server that is installed, where it is still to be had.
        installed=$(dpkg-query -W -f '${source:Version}' "postgresql-$major" 2>/dev/null)
        (
            cd "$folder" && apt-get -qq "${options[@]}" update &&
                { apt-get -qq "${options[@]}" source --download-only "postgresql-$major=$installed" ||
                    apt-get -qq "${options[@]}" source --download-only "postgresql-$major"; }
        ) >&2 || return
    fi
    find "$folder" -name 'postgresql-*.orig.tar.*' | head -n 1
}
