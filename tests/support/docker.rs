//! An image for the Docker engine, where there is no registry to take one from.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

/// Makes sure that the engine has an image `busybox`. Where it has none, one is imported, made of this
/// machine's own static busybox, and stays as if it had been pulled.
///
/// # Panics
///
/// When there is no such image and no busybox(1) to make one of.
pub fn ensure_busybox() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut inspect = Command::new("docker");
        inspect.args(["image", "inspect", "busybox"]).stdout(Stdio::null()).stderr(Stdio::null());
        if !inspect.status().is_ok_and(|status| status.success()) {
            import();
        }
    });
}

fn import() {
    let tree = tempfile::tempdir().expect("a temporary folder");
    lay_out(tree.path());
    let mut tar = Command::new("tar")
        .args(["--create", "--numeric-owner", "--owner=0", "--group=0", "--directory"])
        .arg(tree.path())
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar");
    let import = Command::new("docker")
        .args(["import", "--change", r#"CMD ["sh"]"#, "-", "busybox"])
        .stdin(tar.stdout.take().expect("a pipe"))
        .output()
        .expect("docker import");
    assert!(tar.wait().expect("tar").success(), "tar failed");
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
}

/// A root file system: busybox, a link for each of its applets, and the places to mount things on.
fn lay_out(tree: &Path) {
    let list = Command::new("busybox").arg("--list-full").output();
    let list = list.expect("no image busybox, and no busybox(1) to make one of: busybox-static");
    for folder in ["bin", "sbin", "usr/bin", "usr/sbin", "dev", "etc", "proc", "root", "sys", "tmp"]
    {
        fs::create_dir_all(tree.join(folder)).expect("a folder");
    }
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("etc/passwd");
    fs::write(tree.join("etc/group"), "root:x:0:\n").expect("etc/group");
    let busybox = super::need::program("busybox").expect("it just ran");
    fs::copy(busybox, tree.join("bin/busybox")).expect("bin/busybox");
    for applet in String::from_utf8_lossy(&list.stdout).lines() {
        let link = tree.join(applet);
        if !link.exists() && link.parent().is_some_and(Path::is_dir) {
            symlink("/bin/busybox", &link).expect("a link");
        }
    }
}
