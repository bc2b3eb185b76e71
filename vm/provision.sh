#!/usr/bin/env bash
# Turns a Debian 13 (or 12) into the machine of the course. Run as root and as often as you like: what
# is there already stays as it is, and a second run changes nothing.
#
#     provision.sh [--profile course|node] [--user NAME] [--binaries DIR | --source DIR]
#
# --profile   course (default), or node: also a kubelet with containerd, by profiles/node.sh beside this file
# --user      whose machine it is; made where it does not exist. By default learner where there is one,
#             else who called (Lima's user, sudo's), else vagrant
# --binaries  folder with podlab and the labs, static, as a release build leaves them
# --source    checkout of the course, where there are no binaries: builds them here (Debian 13)
#
# It needs no file but itself, except for --profile node. Packages come from the Debian that is there.
set -euo pipefail
usage="provision.sh [--profile course|node] [--user NAME] [--binaries DIR | --source DIR]"

# The compiler that --source builds with. rustup verifies what it downloads by the hashes of its manifest.
toolchain=1.95.0
target=$(uname --machine)-unknown-linux-gnu
cache=/var/cache/podlab

packages=(
    # What the book, the labs and their tests run.
    bubblewrap curl gcc iproute2 iputils-ping less libc6-dev nano procps psmisc python3 strace util-linux
    # The engines. Without apparmor docker starts no container; the rest is for podman as an ordinary user.
    apparmor ca-certificates containerd crun docker.io iptables podman uidmap
    # A session with a service manager of one's own, which hands cgroups on; a way in.
    dbus-user-session libpam-systemd openssh-server sudo
)
declare -A packages_of=(
    [12]="slirp4netns"
    [13]="docker-cli passt"
)
# What a machine that lives for an afternoon need not do while somebody measures it.
unwanted_units=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
    fstrim.timer man-db.timer
)

profile=course
user=
binaries=
source=
changed=()

main() {
    options "$@"
    ((EUID == 0)) || fail "changing the system needs root" "sudo $0 …"
    release=$(debian_release)
    [[ $profile == course ]] || load_profile
    [[ -n $user ]] || user=$(whose)

    # shellcheck disable=SC2086 # A list of words.
    install_packages "${packages[@]}" ${packages_of[$release]}
    the_user
    commands
    configuration
    services
    [[ $profile == course ]] || profile_"$profile"
}

options() {
    while (($#)); do
        case $1 in
        --profile | --user | --binaries | --source)
            [[ -n ${2-} ]] || fail "$1: a value is missing" "$usage"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        --help) echo "$usage" && exit 0 ;;
        *) fail "$1: no such option" "$usage" ;;
        esac
    done
    [[ $profile == course || $profile == node ]] || fail "--profile $profile: neither course nor node"
    [[ -z $user || $user =~ ^[a-z_][a-z0-9_-]{0,31}$ ]] || fail "--user $user: not the name of a user"
    [[ $user != root ]] || fail "--user root: the course is for an ordinary user"
    [[ -z $binaries || -z $source ]] || fail "--binaries and --source: one of them at most"
    [[ -z $binaries || -x $binaries/podlab ]] || fail "--binaries $binaries: no podlab in there"
    [[ -z $source || -f $source/checker/Cargo.toml ]] || fail "--source $source: no checkout of the course"
}

# fail WHAT [HINT]
fail() {
    printf 'provision.sh: %s\n' "$1" >&2
    (($# == 1)) || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# try WHAT COMMAND...: quietly; where it fails, the end of what it said and one line that names it.
try() {
    local said status=0
    said=$("${@:2}" 2>&1 </dev/null) || status=$?
    ((status == 0)) && return
    tail --lines 10 <<<"$said" >&2
    fail "$1: $2 failed with status $status"
}

debian_release() {
    local ID=unknown VERSION_ID=
    # shellcheck source=/dev/null
    source /etc/os-release
    [[ $ID == debian && -n ${packages_of[${VERSION_ID:-none}]-} ]] ||
        fail "$ID $VERSION_ID: the course's machine is a Debian 13 or 12"
    echo "$VERSION_ID"
}

load_profile() {
    local file
    file=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/profiles/$profile.sh
    [[ -r $file ]] || fail "$file: cannot be read" "the whole folder vm/ is needed for --profile $profile"
    # shellcheck source=/dev/null
    source "$file"
}

# whose: the learner's name, where none was given.
whose() {
    local name
    for name in learner "${LIMA_CIDATA_USER-}" "${SUDO_USER-}" vagrant; do
        [[ -n $name && $name != root ]] && id "$name" &>/dev/null && echo "$name" && return
    done
    fail "no ordinary user to prepare the machine for" "--user NAME makes one"
}

# install_packages NAME...: those of them that are missing.
install_packages() {
    local missing
    mapfile -t missing < <(comm -13 \
        <(dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\n' | sed -n 's/^.i //p' | sort -u) \
        <(printf '%s\n' "$@" | sort -u))
    ((${#missing[@]})) || return 0
    echo "installing ${#missing[@]} packages"
    [[ -n $(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 2>/dev/null) ]] ||
        try "reading Debian's package lists" apt-get --quiet update
    DEBIAN_FRONTEND=noninteractive try "installing ${missing[*]}" \
        apt-get --quiet --yes --no-install-recommends install "${missing[@]}"
}

# The user: in the group that docker serves, root without a password, and with subordinate ids for
# containers of their own.
the_user() {
    id "$user" &>/dev/null || try "making the user $user" useradd --create-home --shell /bin/bash "$user"
    [[ " $(id --name --groups "$user") " == *" docker "* ]] ||
        try "adding $user to the group docker" usermod --append --groups docker "$user"
    local kind first
    for kind in uid gid; do
        grep --quiet "^$user:" "/etc/sub$kind" 2>/dev/null && continue
        first=$(awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n }' "/etc/sub$kind")
        try "giving $user subordinate ids" usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$user"
    done
    put /etc/sudoers.d/podlab 440 <<END
# The machine is the learner's. podlab under sudo is still theirs, with their parameters.
$user ALL=(ALL:ALL) NOPASSWD: ALL
Defaults env_keep += "PODLAB_LEARNER PODLAB_SEED"
END
}

# put PATH [MODE]: standard input becomes this file, where it differs. Remembers it in changed.
put() {
    local content mode=${2:-644}
    content=$(cat)
    [[ -f $1 && $(<"$1") == "$content" && $(stat --format %a "$1") == "$mode" ]] && return
    mkdir -p "$(dirname "$1")"
    # Beside it and renamed: whoever reads the file at this moment sees the old one or the new one.
    (umask 077 && printf '%s\n' "$content" >"$1.new")
    chmod "$mode" "$1.new"
    mv "$1.new" "$1"
    changed+=("$1")
}

# podlab and the labs, in the PATH.
commands() {
    [[ -z $source ]] || {
        build
        binaries=$cache/target/$target/release
    }
    if [[ -z $binaries ]]; then
        [[ -x /usr/local/bin/podlab ]] ||
            fail "no podlab yet, and neither --binaries nor --source says where from" "$usage"
        return
    fi
    "$binaries/podlab" --version &>/dev/null || fail "$binaries/podlab: does not run on this machine"
    local file
    for file in "$binaries"/*; do
        [[ -f $file && -x $file && ${file##*/} != *.* ]] || continue
        cmp --quiet "$file" "/usr/local/bin/${file##*/}" && continue
        install --mode 755 "$file" "/usr/local/bin/${file##*/}.new"
        mv "/usr/local/bin/${file##*/}.new" "/usr/local/bin/${file##*/}"
        changed+=("/usr/local/bin/${file##*/}")
    done
}

# build: from the checkout, in a folder of its own. Cargo does nothing where nothing changed.
build() (
    ((release >= 13)) || fail "Debian $release has no rustup to build with: --binaries must say where podlab is"
    install_packages rustup
    export RUSTUP_HOME=$cache/rustup CARGO_HOME=$cache/cargo CARGO_TARGET_DIR=$cache/target
    export RUSTUP_TOOLCHAIN=$toolchain
    [[ $(rustup toolchain list) == *"$toolchain-"* ]] || {
        echo "installing Rust $toolchain"
        try "installing Rust $toolchain" \
            rustup toolchain install "$toolchain" --profile minimal --no-self-update
    }
    cd "$source"
    try "building podlab and the labs in $source" cargo build --release --locked \
        --target "$target" --config "target.$target.rustflags=[\"-C\",\"target-feature=+crt-static\"]"
)

configuration() {
    put /etc/systemd/system/user@.service.d/podlab.conf <<'END'
# A user's manager may hand on every controller, not only those of systemd's default.
[Service]
Delegate=cpu cpuset io memory pids
END
    put /etc/ssh/sshd_config.d/podlab.conf <<'END'
# `podlab vm ssh` passes on whose parameters are asked for.
AcceptEnv PODLAB_LEARNER PODLAB_SEED
END
    put /etc/systemd/system/containerd.service.d/podlab.conf <<'END'
# Whoever waits for the machine waits for ssh.
[Unit]
After=ssh.service
END
    put /etc/systemd/system/podlab-book.service <<END
[Unit]
Description=The book of the course, on http://127.0.0.1:8000
After=ssh.service

[Service]
ExecStart=/usr/local/bin/podlab book --port 8000
# Its user has no home.
Environment=PODLAB_LEARNER=$user PODLAB_HOME=%t/podlab-book
RuntimeDirectory=podlab-book
Restart=on-failure
DynamicUser=yes
CapabilityBoundingSet=
DevicePolicy=closed
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
END
}

# services: what runs, now and after the next start. In a tree that is not running, the latter.
services() {
    local unit
    for unit in "${unwanted_units[@]}"; do
        [[ $(unit_is enabled "$unit") != masked ]] || continue
        try "masking $unit" systemctl mask "$unit"
        [[ ! -d /run/systemd/system ]] || try "stopping $unit" systemctl stop "$unit"
    done
    # docker starts when its socket is first used.
    [[ $(unit_is enabled docker.service) != enabled ]] ||
        try "disabling docker.service" systemctl disable docker.service
    for unit in docker.socket containerd.service podlab-book.service; do
        [[ $(unit_is enabled "$unit") == enabled ]] || try "enabling $unit" systemctl enable "$unit"
    done

    [[ -d /run/systemd/system ]] || return 0
    ! is_changed /etc/systemd/ || try "reloading systemd" systemctl daemon-reload
    ! is_changed /etc/ssh/ || try "reloading sshd" systemctl reload ssh.service
    if is_changed /usr/local/bin/podlab /etc/systemd/system/podlab-book; then
        try "starting the book" systemctl restart podlab-book.service
    fi
    for unit in docker.socket containerd.service podlab-book.service; do
        [[ $(unit_is active "$unit") == active ]] || try "starting $unit" systemctl start "$unit"
    done
}

# unit_is enabled|active UNIT: what systemctl says of it.
unit_is() {
    systemctl "is-$1" "$2" 2>/dev/null || true
}

# is_changed PREFIX...: whether a changed file begins with one of them.
is_changed() {
    local file prefix
    for file in "${changed[@]}"; do
        for prefix in "$@"; do
            [[ $file != "$prefix"* ]] || return 0
        done
    done
    return 1
}

main "$@"
