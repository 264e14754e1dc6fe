//! Follows a log while it is printed.

use futures::Stream;

use super::error::LogError;
use super::reader::{Chunk, Found, Reader};

/// The log from the reader's position to its end, whenever that comes.
pub(super) fn follow(reader: Reader) -> impl Stream<Item = Result<Chunk, LogError>> + Send {
    futures::stream::try_unfold(reader, |mut reader| async move {
        let chunk = follow_once(&mut reader).await?;
        Ok(chunk.map(|chunk| (chunk, reader)))
    })
}

/// The next bytes, as soon as there are some; `None` at the end of the log.
async fn follow_once(reader: &mut Reader) -> Result<Option<Chunk>, LogError> {
    loop {
        match reader.next(u64::MAX).await? {
            Found::Chunk(chunk) => return Ok(Some(chunk)),
            Found::End => return Ok(None),
            Found::Later => reader.wait().await,
        }
    }
}
