//! Old packs, and packs that nothing refers to.
//!
//! A pack holds logs of many attempts and is removed as a whole. Two kinds of packs go:
//!
//! - *Old* ones, by [`Logs::sweep`]. Take their extents out of the index first: a reader that is
//!   told of a pack which is gone gets [`LogError::PackGone`].
//! - *Orphans*: packs that were written, but whose extents were never committed, because the process
//!   died in between or the commit failed. They cost space, nothing else. To find them, list packs
//!   with [`Logs::packs_before`] and [`Logs::remove`] those that no extent in the index names. A pack
//!   is written before its extents are committed, so `before` must lie far enough back that no commit
//!   can be under way; a day is plenty.

use futures::stream::{self, StreamExt, TryStreamExt};
use futures::{Stream, future};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::model::{PackId, Timestamp};

use super::error::LogError;
use super::pack;
use super::room::Logs;

impl Logs {
    /// All packs named before this time, in no particular order. Lists only the days in question;
    /// objects that are no packs are passed over.
    pub fn packs_before(
        &self,
        before: Timestamp,
    ) -> impl Stream<Item = Result<PackId, LogError>> + Send + use<> {
        let blobs = self.room.blobs.clone();
        stream::once(async move {
            let days = days_until(blobs.as_ref(), before).await?;
            let listings = days.into_iter().map(move |day| blobs.list(Some(&day)));
            Ok::<_, LogError>(stream::iter(listings).flatten().map_err(cannot_list))
        })
        .try_flatten()
        .try_filter_map(move |object| {
            let pack =
                pack::pack_at(&object.location).filter(|pack| pack::created_at(*pack) < before);
            future::ready(Ok(pack))
        })
    }

    /// Removes a pack; it is no error if it is gone already.
    pub async fn remove(&self, pack: PackId) -> Result<(), LogError> {
        match self.room.blobs.delete(&pack::path(pack)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(LogError::Remove { pack, source }),
        }
    }

    /// Removes all packs named before this time; how many there were. What was removed before an
    /// error stays removed; call it again.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64, LogError> {
        let mut packs = std::pin::pin!(self.packs_before(before));
        let mut removed = 0;
        while let Some(pack) = packs.try_next().await? {
            self.remove(pack).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// The directories of the days up to that of `before`.
async fn days_until(blobs: &dyn ObjectStore, before: Timestamp) -> Result<Vec<Path>, LogError> {
    let last = pack::day(before);
    let listing = blobs
        .list_with_delimiter(Some(&pack::root()))
        .await
        .map_err(cannot_list)?;
    Ok(listing
        .common_prefixes
        .into_iter()
        .filter(|day| day.filename().is_some_and(|day| day <= last.as_str()))
        .collect())
}

fn cannot_list(source: object_store::Error) -> LogError {
    LogError::List { source }
}
