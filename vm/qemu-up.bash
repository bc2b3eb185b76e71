# vm/qemu up: from nothing to a machine that is up. Read by vm/qemu, whose variables it uses.
# shellcheck shell=bash disable=SC2154

# Whether all that is in the machine's folder was made by this `up`.
is_new=
# The ends of two pipes: what this `up` tells the guard, and whether QEMU lives.
keep='' told='' gone='' alive=''
# The guard, and the ssh that waits for an answer.
guard='' session=''

up() {
    case $(condition) in
    up) echo "$name is up already" && return ;;
    starting) fail "$name: another vm/qemu up is starting it" "vm/qemu down $name ends that" ;;
    esac
    programs
    the_image
    accel=$("$here/accel" "$image/vmlinuz") || exit
    [[ $accel == kvm ]] || deadline=${deadline:-600}
    deadline=${deadline:-60}

    trap abandon EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    take_folder
    disk
    keys
    credential
    start
    mount_shares
    forward_book
    mv "$folder/ssh.config.new" "$folder/ssh.config"
    echo up >&"$keep"
    wait "$guard"
    trap - EXIT
    echo "$name is up, after $SECONDS s"
}

programs() {
    local program
    for program in qemu-system-x86_64 qemu-img ssh ssh-keygen; do
        command -v "$program" >/dev/null ||
            fail "no $program on the PATH" "sudo apt install qemu-system-x86 qemu-utils openssh-client"
    done
}

the_image() {
    local file
    for file in vmlinuz initrd cmdline disk.qcow2; do
        [[ -r $image/$file ]] ||
            fail "$image/$file: cannot be read" "sudo vm/image/build makes an image, in a few minutes"
    done
    image=$(realpath "$image")
}

# Makes the machine's folder, unless it is there, and locks its qemu.pid. QEMU inherits the lock.
take_folder() {
    (umask 077 && mkdir -p "$folder")
    own_folders
    exec {lock}<>"$folder/qemu.pid"
    # Meanwhile another may have taken it, or have removed the folder.
    if ! flock --timeout 2 "$lock" || ! [[ /proc/self/fd/$lock -ef $folder/qemu.pid ]]; then
        fail "$name: another vm/qemu is at work on it"
    fi
    [[ -e $folder/disk.qcow2 ]] || is_new=yes
    rm -f "$folder/ssh.config"
}

# The disk has what the machine wrote. The rest is read from the image, which must stay as it was.
disk() {
    local base
    base=$(stat --format '%d:%i %s %Y' "$image/disk.qcow2")
    if [[ -n $is_new ]]; then
        echo "$base" >"$folder/image"
        qemu-img create -q -f qcow2 -F qcow2 -b "$image/disk.qcow2" "$folder/disk.qcow2"
    elif [[ $base != "$(cat "$folder/image")" ]]; then
        fail "$name: its disk belongs to another image than $image" "vm/qemu down $name removes it"
    fi
}

# A key for the learner and one for the machine, made for this machine alone.
keys() {
    local key
    for key in id host; do
        [[ -s $folder/${key}_ed25519.pub ]] ||
            ssh-keygen -q -t ed25519 -N "" -C "podlab $name" -f "$folder/${key}_ed25519"
    done
    printf 'podlab-%s %s\n' "$name" "$(cat "$folder/host_ed25519.pub")" >"$folder/known_hosts"
}

# What the machine is told of the keys: lines for systemd-tmpfiles, which runs before sshd.
credential() (
    umask 077
    cat >"$folder/credential" <<-END
	d /home/learner/.ssh 0700 learner learner
	f+~ /home/learner/.ssh/authorized_keys 0600 learner learner - $(base64 -w 0 "$folder/id_ed25519.pub")
	f+~ /etc/ssh/ssh_host_ed25519_key 0600 root root - $(base64 -w 0 "$folder/host_ed25519")
	f+~ /etc/ssh/ssh_host_ed25519_key.pub 0644 root root - $(base64 -w 0 "$folder/host_ed25519.pub")
	END
)

# Starts QEMU and waits until the machine is up. Somebody may take the port just before QEMU does.
start() {
    for _ in {1..5}; do
        ssh_port=$(free_port)
        write_ssh_config >"$folder/ssh.config.new"
        launch
        if comes_up; then return; fi
        grep -q 'Could not set up host forwarding' "$folder/qemu.log" || break
        echo again >&"$keep"
        wait "$guard"
    done
    not_up
}

# free_port [WISH]: a port of loopback on which nobody listens.
free_port() {
    local port=${1:-$((20000 + SRANDOM % 10000))}
    while listens "$port"; do
        port=$((20000 + SRANDOM % 10000))
    done
    echo "$port"
}

write_ssh_config() {
    cat <<-END
	Host $name
	    HostName 127.0.0.1
	    Port $ssh_port
	    User learner
	    IdentityFile "$folder/id_ed25519"
	    IdentitiesOnly yes
	    IdentityAgent none
	    HostKeyAlias podlab-$name
	    UserKnownHostsFile "$folder/known_hosts"
	    GlobalKnownHostsFile none
	    StrictHostKeyChecking yes
	    UpdateHostKeys no
	    PasswordAuthentication no
	END
}

# Starts the guard, and it QEMU. `keep`: what the guard is told. `gone`: ends when QEMU does.
launch() {
    pipe told keep
    pipe gone alive
    # In a process group of its own, where no Ctrl-C and no kill of ours reaches it.
    set -m
    guard &
    guard=$!
    set +m
    exec {told}<&- {alive}>&-
}

# pipe READER WRITER: opens a pipe; the variables so named get its ends.
pipe() {
    local both reader writer
    exec {both}<> <(:)
    exec {reader}<"/dev/fd/$both" {writer}>"/dev/fd/$both" {both}>&-
    printf -v "$1" %d "$reader"
    printf -v "$2" %d "$writer"
}

# Stays until it is told that the machine is up. Where `up` ends without a word, killed perhaps, QEMU
# goes too, and what was made for it.
guard() {
    trap - EXIT
    trap '' HUP INT TERM
    exec {keep}>&- {gone}<&-
    machine &
    local word='' qemu=$!
    exec {alive}>&-
    read -r word <&"$told" || true
    [[ $word != up ]] || return 0
    kill -KILL "$qemu" 2>/dev/null || true
    # What killed it is no news.
    wait "$qemu" 2>/dev/null || true
    [[ $word == again ]] || clear_away
}

# Becomes QEMU, in a session of its own: it outlives the terminal. It keeps `lock` and `alive` open.
machine() {
    echo "$BASHPID" >&"$lock"
    exec {told}<&-
    local file=${folder//,/,,} processor=max i devices=()
    [[ $accel == tcg ]] || processor=host
    for i in "${!shares[@]}"; do
        devices+=(
            -fsdev "local,id=share$i,path=${shares[i]//,/,,},security_model=none,readonly=on"
            -device "virtio-9p-pci,fsdev=share$i,mount_tag=share$i"
        )
    done
    exec setsid qemu-system-x86_64 -nodefaults -no-user-config -display none -name "podlab-$name" \
        -machine q35 -accel "$accel" -cpu "$processor" -smp "$cpus" -m "$memory" \
        -kernel "$image/vmlinuz" -initrd "$image/initrd" -append "$(cat "$image/cmdline")" \
        -drive "file=$file/disk.qcow2,if=virtio,format=qcow2,cache=unsafe,discard=unmap" \
        -netdev "user,id=net,restrict=$offline,hostfwd=tcp:127.0.0.1:$ssh_port-:22" \
        -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci \
        -chardev "file,id=console,path=$file/console.log" -serial chardev:console \
        -fw_cfg "name=opt/io.systemd.credentials/tmpfiles.extra,file=$file/credential" \
        "${devices[@]}" </dev/null >"$folder/qemu.log" 2>&1
}

# comes_up: whether it does, before the deadline.
comes_up() {
    until inside systemctl is-system-running --wait || is degraded; do
        ((SECONDS < deadline)) && ! ended || return 1
    done
}

# inside COMMAND...: runs it in the machine, as learner, until the deadline.
inside() {
    timeout $((deadline > SECONDS ? deadline - SECONDS : 1)) ssh -F "$folder/ssh.config.new" \
        -o BatchMode=yes -o ConnectTimeout=5 -o LogLevel=ERROR "$name" "$(printf '%q ' "$@")" \
        </dev/null >"$folder/said" 2>&1 {lock}>&- {keep}>&- {gone}<&- &
    session=$!
    wait "$session"
}

# is WORD: whether what was run inside said just that.
is() {
    [[ $(cat "$folder/said") == "$1" ]]
}

# ended: whether QEMU has, or does in the next half second.
ended() {
    local status=0
    read -r -t 0.5 -u "$gone" || status=$?
    # Above 128 the time was up.
    ((status <= 128))
}

not_up() {
    local why="did not come up within $deadline s"
    ! ended || why="QEMU ended: $(tail -n 1 "$folder/qemu.log")"
    [[ ! -s $folder/console.log ]] || tail -n 20 "$folder/console.log" | tr -cd '[:print:]\n' >&2
    fail "$name: $why"
}

# --share: mounted where it is outside.
mount_shares() {
    local i
    for i in "${!shares[@]}"; do
        inside sudo mount --mkdir -t 9p -o ro,trans=virtio,version=9p2000.L "share$i" "${shares[i]}" ||
            fail "$name: ${shares[i]} cannot be mounted in there: $(tail -n 1 "$folder/said")"
    done
}

# The book is served on the machine's own loopback: an ssh that lives as long as QEMU brings it to ours.
forward_book() {
    local port
    for _ in {1..5}; do
        port=$(free_port 8000)
        if ssh -F "$folder/ssh.config.new" -f -N -o BatchMode=yes -o ExitOnForwardFailure=yes -o LogLevel=ERROR \
            -L "127.0.0.1:$port:127.0.0.1:8000" "$name" \
            </dev/null >"$folder/said" 2>&1 {lock}>&- {keep}>&- {gone}<&-; then
            printf '%s %s %s\n' "$accel" "$ssh_port" "$port" >"$folder/ports"
            return
        fi
    done
    fail "$name: the book's port cannot be forwarded: $(tail -n 1 "$folder/said")"
}

# What `up` does at its end, unless the machine is up: the guard takes QEMU and the rest away.
abandon() {
    local status=$?
    trap '' HUP INT TERM
    if [[ -n $guard ]]; then
        exec {keep}>&-
        wait "$guard" ${session:+"$session"} || true
    else
        clear_away
    fi
    exit "$status"
}

# What was made for a machine that did not come up. A disk from before stays.
clear_away() {
    [[ -z $is_new ]] || remove
}
