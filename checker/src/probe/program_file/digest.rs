//! The SHA-256 of an open file.

use std::os::fd::OwnedFd;

use sha2::{Digest, Sha256};

/// In hexadecimal, of at most the first `most` bytes.
pub(super) fn sha256(file: &OwnedFd, most: u64) -> rustix::io::Result<String> {
    let mut hash = Sha256::new();
    let mut part = vec![0; 1 << 18];
    let mut at = 0;
    while at < most {
        match rustix::io::pread(file, &mut part, at)? {
            0 => break,
            n => {
                hash.update(&part[..n]);
                at += n as u64;
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
