//! What a machine said on its console.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::clients::{Call, Clients};
use super::errors::Failure;
use crate::model::InstanceId;
use crate::provider::ProviderError;

/// Most bytes kept, from the end: EC2 keeps as much.
const MOST_BYTES: usize = 64 * 1024;

/// The end of it; `None` when there is nothing, or no such instance.
pub(super) async fn console(
    clients: &Clients,
    id: &InstanceId,
) -> Result<Option<String>, ProviderError> {
    let answer = match ask(clients, id, true).await {
        // Only newer types of instance can say what was written just now.
        Err(failure) if failure.is_about("UnsupportedOperation") => ask(clients, id, false).await,
        answer => answer,
    };
    match answer {
        Ok(encoded) => Ok(encoded.and_then(|encoded| decode(&encoded))),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure.error),
    }
}

async fn ask(clients: &Clients, id: &InstanceId, latest: bool) -> Result<Option<String>, Failure> {
    let request = clients
        .ec2
        .get_console_output()
        .instance_id(&id.0)
        .set_latest(latest.then_some(true));
    let call = Call::new("GetConsoleOutput", "reading an instance's console");
    Ok(clients.call(call, request.send()).await?.output)
}

fn decode(encoded: &str) -> Option<String> {
    // Some answers are broken into lines.
    let compact: String = encoded.split_whitespace().collect();
    let bytes = STANDARD.decode(compact).ok()?;
    let from = bytes.len().saturating_sub(MOST_BYTES);
    let text = String::from_utf8_lossy(bytes.get(from..)?).into_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_console_is_kept() {
        let long = format!("{}the end", "x".repeat(MOST_BYTES));
        let text = decode(&STANDARD.encode(long)).unwrap();
        assert_eq!(text.len(), MOST_BYTES);
        assert!(text.ends_with("xthe end"), "{}", text.len());
        assert_eq!(decode(""), None);
        assert_eq!(decode("not base64!"), None);
    }
}
