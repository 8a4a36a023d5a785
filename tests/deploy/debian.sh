# Sourced; needs root and debootstrap.

# debian_root FOLDER [PACKAGES]: a root file system of the distribution that this machine has its packages from, with nothing in it that
# is not needed, and these (with commas).
debian_root() {
    local root=$1 mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 ~ /^http/ && $2 !~ /security|updates|backports/ { print; exit }')
    [ -n "$mirror" ] || { echo 'no mirror is configured for apt' >&2; return 1; }
    debootstrap --variant=minbase ${2:+"--include=$2"} "${mirror#* }" "$root" "${mirror% *}" >"$root.log" 2>&1 ||
        { tail -5 "$root.log" >&2; return 1; }
}
