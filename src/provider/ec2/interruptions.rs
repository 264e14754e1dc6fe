//! Notices from a queue: an `EventBridge` rule puts EC2's events there, we take them out.
//!
//! A queue serves one installation in one region. Only the warning that a spot instance is taken
//! back in two minutes counts. Recommendations to rebalance come too early and too often to end
//! builds for, and changes of state do not say whose doing they are; listings show both.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use serde::Deserialize;
use tokio::time::sleep;

use super::clients::{Call, Clients};
use crate::model::InstanceId;
use crate::provider::ProviderError;

/// How long a call waits for a message: nearly as long as a call may take.
const WAIT_SECONDS: i32 = 15;
/// Most messages at once; the queue allows no more.
const MOST_MESSAGES: i32 = 10;
/// After a failure, and twice as long after each more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of them: notices come two minutes ahead.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The event that counts.
const WARNING: &str = "EC2 Spot Instance Interruption Warning";

/// The receiving end of a queue.
#[derive(Debug)]
pub(super) struct Notices {
    queue: String,
    /// Read but not yet given: whoever waits may go away between the two.
    found: Mutex<Vec<InstanceId>>,
}

/// An event, as far as it matters.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "detail-type")]
    kind: String,
    #[serde(default)]
    detail: Detail,
}

#[derive(Debug, Default, Deserialize)]
struct Detail {
    #[serde(rename = "instance-id")]
    instance: Option<String>,
}

impl Notices {
    /// Notices from the queue with this URL.
    pub(super) fn new(queue: String) -> Self {
        Self {
            queue,
            found: Mutex::default(),
        }
    }

    /// Waits for the next ones.
    pub(super) async fn next(&self, clients: &Clients) -> Vec<InstanceId> {
        let mut pause = FIRST_PAUSE;
        loop {
            let found = self.take();
            if !found.is_empty() {
                return found;
            }
            match self.receive(clients).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "interruption notices cannot be read");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn take(&self) -> Vec<InstanceId> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *found)
    }

    async fn receive(&self, clients: &Clients) -> Result<(), ProviderError> {
        let request = clients
            .sqs
            .receive_message()
            .queue_url(&self.queue)
            .max_number_of_messages(MOST_MESSAGES)
            .wait_time_seconds(WAIT_SECONDS);
        let call = Call::new("ReceiveMessage", "receiving interruption notices");
        let messages = clients.call(call, request.send()).await?.messages;
        let messages = messages.unwrap_or_default();
        {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            let new = messages.iter().filter_map(|message| read(message.body()?));
            found.extend(new);
        }
        self.delete(clients, &messages).await
    }

    async fn delete(&self, clients: &Clients, messages: &[Message]) -> Result<(), ProviderError> {
        let entries: Vec<_> = messages
            .iter()
            .enumerate()
            .filter_map(|(index, message)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(message.receipt_handle()?)
                    .build()
                    .ok()
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let request = clients
            .sqs
            .delete_message_batch()
            .queue_url(&self.queue)
            .set_entries(Some(entries));
        let call = Call::new("DeleteMessageBatch", "deleting interruption notices");
        clients.call(call, request.send()).await?;
        Ok(())
    }
}

/// The instance that a message announces the end of.
fn read(body: &str) -> Option<InstanceId> {
    let event: Event = serde_json::from_str(body).ok()?;
    let instance = event.detail.instance?;
    (event.kind == WARNING).then_some(InstanceId(instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_count() {
        let event = |kind: &str| {
            serde_json::json!({
                "version": "0",
                "source": "aws.ec2",
                "detail-type": kind,
                "region": "eu-central-1",
                "detail": { "instance-id": "i-0123", "instance-action": "terminate" },
            })
            .to_string()
        };
        assert_eq!(read(&event(WARNING)), Some(InstanceId("i-0123".to_owned())));
        assert_eq!(read(&event("EC2 Instance Rebalance Recommendation")), None);
        assert_eq!(read(&event("EC2 Instance State-change Notification")), None);
        assert_eq!(read("not an event"), None);
        assert_eq!(read("{\"detail-type\":\"Test\"}"), None);
    }
}
