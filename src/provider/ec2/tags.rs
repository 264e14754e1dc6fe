//! The tags by which our things are known, to us and to whoever cleans up without our books.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use crate::model::{LaunchId, Timestamp};

/// Which installation a thing belongs to: what does not carry ours is never touched.
pub(super) const INSTALLATION: &str = "dormouse:installation";
/// The launch it was made by.
pub(super) const LAUNCH: &str = "dormouse:launch";
/// The image it was launched from, by name, for people.
pub(super) const IMAGE: &str = "dormouse:image";
/// When nobody wants it any more, whatever else is known.
pub(super) const EXPIRES_AT: &str = "dormouse:expires-at";
/// What the console shows.
pub(super) const NAME: &str = "Name";

/// Tags as EC2 takes them, for one type of thing.
pub(super) fn specification(
    resource: ResourceType,
    tags: &BTreeMap<String, String>,
) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(resource)
        .set_tags(Some(pairs(tags)))
        .build()
}

/// Tags as EC2 takes them.
pub(super) fn pairs(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// The value of a tag.
pub(super) fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter()
        .find(|tag| tag.key() == Some(key))
        .and_then(Tag::value)
}

/// The launch that a thing was made by, if its tag says so.
pub(super) fn launch(tags: &[Tag]) -> Option<LaunchId> {
    value(tags, LAUNCH)?.parse().ok()
}

/// When a thing is no longer wanted, if its tag says so.
pub(super) fn expires_at(tags: &[Tag]) -> Option<Timestamp> {
    let text = value(tags, EXPIRES_AT)?;
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// Only things of this installation.
pub(super) fn ours(installation: &str) -> Filter {
    filter(&format!("tag:{INSTALLATION}"), &[installation])
}

/// Only things with one of these values.
pub(super) fn filter(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}
