//! Keys made for one machine before its launch: nothing is shared between machines.

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, ssh_key};

use crate::model::{MachineId, MachineKeys, Secret};

/// Makes the host key and our login key of a machine from two random seeds.
///
/// # Errors
/// When a key cannot be written in OpenSSH format, which no seed is known to cause.
pub fn generate(
    machine: MachineId,
    host_seed: &[u8; 32],
    client_seed: &[u8; 32],
) -> Result<MachineKeys, ssh_key::Error> {
    let (host_private, host_public) = pair(machine, host_seed)?;
    let (client_private, client_public) = pair(machine, client_seed)?;
    Ok(MachineKeys {
        machine,
        host_private,
        host_public,
        client_private,
        client_public,
    })
}

fn pair(machine: MachineId, seed: &[u8; 32]) -> Result<(Secret, String), ssh_key::Error> {
    let key = PrivateKey::new(Ed25519Keypair::from_seed(seed).into(), machine.to_string())?;
    let private = key.to_openssh(LineEnding::LF)?.to_string();
    Ok((Secret::new(private), key.public_key().to_openssh()?))
}
