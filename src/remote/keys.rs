//! The keys of one machine, made before its launch so that they can be pinned.

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

use super::RemoteError;
use crate::model::{MachineId, MachineKeys, Secret};

/// Makes a machine's host key and our key for logging in, Ed25519, from random seeds.
///
/// # Errors
/// [`RemoteError::Protocol`] when a key cannot be written as text.
pub fn machine_keys(
    machine: MachineId,
    host_seed: &[u8; 32],
    client_seed: &[u8; 32],
) -> Result<MachineKeys, RemoteError> {
    let (host_private, host_public) = pair(host_seed)?;
    let (client_private, client_public) = pair(client_seed)?;
    Ok(MachineKeys {
        machine,
        host_private,
        host_public,
        client_private,
        client_public,
        is_shared: false,
    })
}

fn pair(seed: &[u8; 32]) -> Result<(Secret, String), RemoteError> {
    let unwritable = |error: russh::keys::ssh_key::Error| RemoteError::Protocol {
        operation: "writing a key",
        detail: error.to_string(),
    };
    let key = PrivateKey::from(Ed25519Keypair::from_seed(seed));
    let private = key.to_openssh(LineEnding::LF).map_err(unwritable)?;
    let public = key.public_key().to_openssh().map_err(unwritable)?;
    Ok((Secret::new(private.to_string()), public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_readable_and_belong_together() {
        let keys = machine_keys(MachineId::from_bits(1), &[1; 32], &[2; 32]).unwrap();
        let private = PrivateKey::from_openssh(keys.host_private.expose()).unwrap();
        assert_eq!(private.public_key().to_openssh().unwrap(), keys.host_public);
        assert_ne!(keys.host_public, keys.client_public);
        assert!(!format!("{keys:?}").contains("PRIVATE"));
    }
}
