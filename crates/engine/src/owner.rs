//! Who we are, and whether another owner on this machine is known to be dead.
//!
//! A lease is freed by expiry in any case; on one machine the kernel tells at once, so that a
//! restart after `kill -9` does not wait. Fencing makes a wrong answer harmless.

use std::fs;

use dunlin_model::Owner;

/// This process as an owner of leases, under a new random id.
#[must_use]
pub fn this_process() -> Owner {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown host".to_owned());
    let pid = std::process::id();
    Owner {
        id: uuid::Uuid::new_v4().to_string(),
        host,
        pid,
        identity: identity_of(pid).unwrap_or_default(),
    }
}

/// Whether an owner ran on this very machine, under this boot and in this process namespace, and
/// its process is gone. `false` where that can't be known.
#[must_use]
pub fn is_known_dead(owner: &Owner) -> bool {
    let Some((place, _)) = owner.identity.rsplit_once('#') else { return false };
    if machine().is_none_or(|here| here != place) {
        return false;
    }
    // Another start time means that the number was given to another process since.
    identity_of(owner.pid).as_deref() != Some(owner.identity.as_str())
}

/// Boot and process namespace: within these a process number means one process at a time.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

fn identity_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    let started = fields.nth(18)?;
    Some(format!("{}#{pid}@{started}", machine()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive() {
        assert!(!is_known_dead(&this_process()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reaped_child_is_dead() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let identity = identity_of(child.id()).expect("it has an identity");
        let owner = Owner { id: "x".into(), host: "h".into(), pid: child.id(), identity };
        assert!(!is_known_dead(&owner));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        assert!(is_known_dead(&owner));
    }

    #[test]
    fn owners_elsewhere_are_never_known_dead() {
        let mut owner = this_process();
        owner.identity = "another-boot/pid:[1]#1@1".into();
        assert!(!is_known_dead(&owner));
        owner.identity.clear();
        assert!(!is_known_dead(&owner));
    }
}
