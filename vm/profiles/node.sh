# shellcheck shell=bash disable=SC2154
# Read by vm/provision.sh --profile node: the course's machine as a node of Kubernetes, without the
# cluster. A kubelet runs static pods with containerd, through CRI, with cgroups made by systemd.
#
# Of node/ beside this file, root/ is the node's configuration, each file at its place; pause.c
# becomes an image. All else are Debian's packages, except for the kubelet: vm/image/kubelet makes it.

node=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/node
node_version=v1.20.2
node_packages=(busybox-static conntrack containernetworking-plugins ethtool kmod runc socat)
node_kubelet=

# Where a kubelet is. Asked before anything is installed.
node_find_kubelet() {
    local version
    for node_kubelet in "${binaries:+$binaries/kubelet}" "${source:+$source/target/kubelet/kubelet}" \
        /usr/local/bin/kubelet; do
        [[ ! -x $node_kubelet ]] || break
    done
    [[ -x $node_kubelet ]] || fail "no kubelet, and Debian has no package of one" \
        "vm/image/kubelet makes it, with the folder of --binaries as its argument, or /usr/local/bin"
    version=$("$node_kubelet" --version 2>&1) || fail "$node_kubelet: does not run on this machine"
    [[ $version == "Kubernetes $node_version" ]] ||
        fail "$node_kubelet: $version, and what it reads is written for $node_version" \
            "vm/image/kubelet makes that"
}
node_find_kubelet

profile_node() {
    install_packages "${node_packages[@]}"
    if ! cmp --quiet "$node_kubelet" /usr/local/bin/kubelet; then
        install --mode 755 "$node_kubelet" /usr/local/bin/kubelet.new
        mv /usr/local/bin/kubelet.new /usr/local/bin/kubelet
        changed+=(/usr/local/bin/kubelet)
    fi
    node_configuration
    node_images
    node_services
}

node_configuration() {
    local file example=etc/kubernetes/manifests/example.yaml
    # It is the learner's to edit and to remove: it comes once.
    [[ ! -d /etc/kubernetes/manifests ]] || example=
    while read -r file; do
        [[ $file != */manifests/* || $file == "$example" ]] || continue
        put "/$file" <"$node/root/$file"
    done < <(cd "$node/root" && find . -type f -printf '%P\n' | sort)
    put /etc/systemd/system/cri-containerd-.scope.d/podlab.conf <<'END'
# A container's PID 1 need not know SIGTERM: turning the machine off does not wait 90 s for it.
[Scope]
TimeoutStopSec=3
END
}

# /usr/local/share/podlab/images.tar: localhost/pause:1 and localhost/busybox:1 as `docker save` writes
# images, each with one layer. The same programs give the same bytes.
node_images() {
    local archive=/usr/local/share/podlab/images.tar work
    work=$(mktemp --directory)
    mkdir "$work/images"
    node_image pause '"Entrypoint": ["/pause"]'
    node_image busybox '"Cmd": ["sh"], "Env": ["PATH=/bin"]'
    cat >"$work/images/manifest.json" <<'END'
[{"Config": "pause.json", "RepoTags": ["localhost/pause:1"], "Layers": ["pause.tar"]},
 {"Config": "busybox.json", "RepoTags": ["localhost/busybox:1"], "Layers": ["busybox.tar"]}]
END
    node_tar "$work/images" "$work/images.tar"
    if ! cmp --quiet "$work/images.tar" "$archive"; then
        install -D --mode 644 "$work/images.tar" "$archive"
        changed+=("$archive")
    fi
    rm -r "$work"
}

# node_image NAME CONFIG: adds that image's layer and configuration to $work/images.
node_image() {
    mkdir "$work/$1"
    "node_root_of_$1" "$work/$1"
    node_tar "$work/$1" "$work/images/$1.tar"
    local digest
    digest=$(sha256sum <"$work/images/$1.tar" | cut -d ' ' -f 1)
    cat >"$work/images/$1.json" <<END
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "config": {$2},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]}}
END
}

# node_tar DIR ARCHIVE: what is in DIR, without when and by whom it was made.
node_tar() {
    tar --create --file "$2" --directory "$1" --format ustar --sort name \
        --mtime @0 --owner 0 --group 0 --numeric-owner .
}

node_root_of_pause() {
    try "compiling pause" gcc -static -Os -s -Wall -Wextra -o "$1/pause" "$node/pause.c"
}

# Debian's static busybox under each of its names, and a page for its httpd.
node_root_of_busybox() {
    local name
    mkdir "$1"/{bin,etc,root,tmp,www}
    chmod 1777 "$1/tmp"
    install --mode 755 /bin/busybox "$1/bin/busybox"
    busybox --list | grep -v '^busybox$' | while read -r name; do
        ln -s busybox "$1/bin/$name"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
    echo 'A page, served from inside a pod.' >"$1/www/index.html"
}

# Enables the kubelet and, where the machine runs, has it use what changed.
node_services() {
    [[ $(unit_is enabled kubelet.service) == enabled ]] ||
        try "enabling the kubelet" systemctl enable kubelet.service
    [[ -d /run/systemd/system ]] || return 0
    ! is_changed /etc/systemd/ || try "reloading systemd" systemctl daemon-reload
    ! is_changed /etc/containerd/ || try "restarting containerd" systemctl restart containerd.service
    ! is_changed /usr/local/share/podlab/ /etc/containerd/ ||
        try "importing the images" systemctl restart podlab-images.service
    ! is_changed /usr/local/bin/kubelet /etc/kubernetes/kubelet.yaml /etc/systemd/system/kubelet /etc/cni/ ||
        try "restarting the kubelet" systemctl restart kubelet.service
    [[ $(unit_is active kubelet.service) == active ]] ||
        try "starting the kubelet" systemctl start kubelet.service
}
