//! Makes image and policy versions current, written into a transaction.

use std::sync::Arc;

use crate::model::{EventKind, Image, ImageSpec, ImageState, Policy, PolicySpec, Subject};

use super::draft::Draft;

/// What applying one declaration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The stored version says the same already.
    Unchanged {
        /// Its name.
        name: String,
        /// Its version.
        version: u32,
    },
    /// It is now current.
    Changed {
        /// Its name.
        name: String,
        /// Its version.
        version: u32,
    },
}

/// Makes an image file current.
pub(crate) fn apply_image(draft: &mut Draft<'_>, name: String, spec: ImageSpec) -> Applied {
    let current = draft.books.image(&name).cloned();
    if let Some(same) = current.as_ref().filter(|current| current.spec == spec) {
        return Applied::Unchanged {
            name,
            version: same.version,
        };
    }
    if let Some(current) = current {
        retire(draft, &current, ImageState::Superseded);
    }
    let version = draft.books.next_image_version(&name);
    let applied_at = draft.now;
    let state = ImageState::Active;
    draft.insert_image(Image {
        name: name.clone(),
        version,
        state,
        spec,
        applied_at,
        rev: 0,
    });
    draft.books.try_anew(&name);
    let message = format!("version {version} is current");
    draft.event(
        Subject::Image(name.clone()),
        EventKind::ImageApplied,
        message,
    );
    Applied::Changed { name, version }
}

/// Ends the time of an image version.
pub(crate) fn retire(draft: &mut Draft<'_>, image: &Arc<Image>, state: ImageState) -> Image {
    let read = image.rev;
    let mut retired = Image::clone(image);
    retired.state = state;
    retired.rev += 1;
    draft.update_image(retired.clone(), read);
    retired
}

/// Makes a policy file current.
pub(crate) fn apply_policy(draft: &mut Draft<'_>, name: String, spec: PolicySpec) -> Applied {
    let current = draft.books.policies.get(&name);
    if let Some(same) = current.filter(|current| current.spec == spec) {
        return Applied::Unchanged {
            name,
            version: same.version,
        };
    }
    let version = current.map_or(1, |current| current.version + 1);
    draft.insert_policy(Policy {
        name: name.clone(),
        version,
        spec,
        applied_at: draft.now,
        rev: 0,
    });
    let message = format!("version {version} is current");
    draft.event(
        Subject::Policy(name.clone()),
        EventKind::PolicyApplied,
        message,
    );
    Applied::Changed { name, version }
}
