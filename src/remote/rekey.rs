//! Replaces the keys of a machine, on the machine: what is said to it, and its answer.
//!
//! The keys travel over standard input only. Nothing is changed before all of the text has come,
//! and then all of it is, whether or not the connection lasts.

use std::fmt::Write as _;

use russh::keys::{PrivateKey, PublicKey, PublicKeyBase64};

use super::script::quoted;
use super::{Rekey, RemoteError, Target};
use crate::model::MachineKeys;

pub(super) const OPERATION: &str = "changing the keys";

const REKEY: &str = include_str!("rekey.sh");
const BECOME_ROOT: &str = include_str!("become_root.sh");

/// The text for a shell of the login user.
///
/// # Errors
/// [`RemoteError::Protocol`] when a key cannot be read.
pub(super) fn script(target: &Target, new: &MachineKeys) -> Result<String, RemoteError> {
    let MachineKeys {
        host_private,
        host_public,
        client_public,
        ..
    } = new;
    let public = |text: &str| PublicKey::from_openssh(text).map_err(|error| unusable(&error));
    let boot_client = PrivateKey::from_openssh(target.client_private.expose())
        .map_err(|error| unusable(&error))?;
    let host = PrivateKey::from_openssh(host_private.expose()).map_err(|error| unusable(&error))?;
    if host.public_key().key_data() != public(host_public)?.key_data() {
        return Err(RemoteError::Protocol {
            operation: OPERATION,
            detail: "the halves of the new host key do not belong together".to_owned(),
        });
    }
    let values = [
        ("dm_host_private", host_private.expose().trim_end()),
        ("dm_host_public", host_public.trim()),
        ("dm_client_public", client_public.trim()),
        // The part of a line that tells one key from all others.
        (
            "dm_host_old",
            &public(&target.host_public)?.public_key_base64(),
        ),
        ("dm_host_new", &public(host_public)?.public_key_base64()),
        (
            "dm_client_old",
            &boot_client.public_key().public_key_base64(),
        ),
        ("dm_client_new", &public(client_public)?.public_key_base64()),
    ];
    let mut text = String::new();
    for (name, value) in values {
        let _ = writeln!(text, "{name}={}", quoted(value)?);
    }
    text.push_str(REKEY);
    Ok(format!("dm_text={}\n{BECOME_ROOT}", quoted(&text)?))
}

/// What the machine answered.
///
/// # Errors
/// [`RemoteError::Protocol`] when it failed halfway, with what it said.
pub(super) fn read(answer: &[u8]) -> Result<Rekey, RemoteError> {
    let text = String::from_utf8_lossy(answer);
    let last = text.lines().last().unwrap_or_default();
    match last {
        "done" => Ok(Rekey::Done),
        "denied" => Ok(Rekey::NotAllowed),
        _ if last.starts_with("unsupported") => {
            tracing::debug!(answer = last, "a machine's keys cannot be changed");
            Ok(Rekey::NotSupported)
        }
        _ => Err(RemoteError::Protocol {
            operation: OPERATION,
            detail: last.chars().take(300).collect(),
        }),
    }
}

fn unusable(error: &russh::keys::ssh_key::Error) -> RemoteError {
    RemoteError::Protocol {
        operation: OPERATION,
        detail: format!("a key cannot be read: {error}"),
    }
}
