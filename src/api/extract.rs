//! Reads the parts of a request; what cannot be read is told as a problem.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::limits::{DEFAULT_PAGE_ROWS, MAX_BODY_BYTES, MAX_PAGE_ROWS};
use super::state::ApiState;
use super::view::{DocumentProblem, Page};
use crate::store;

/// The query of a request. Unknown names are refused by the types, so that a misspelt filter does
/// not silently filter nothing.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| {
                ApiError::malformed(
                    rejection.body_text(),
                    Some("/api/docs/ lists the parameters of each path"),
                )
            })
    }
}

/// The name at the end of the path.
#[derive(Debug)]
pub(super) struct Name(pub(super) String);

impl FromRequestParts<ApiState> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(name)| Self(name))
            .map_err(|rejection| ApiError::malformed(rejection.body_text(), None))
    }
}

/// The id in the path.
#[derive(Debug)]
pub(super) struct Id<T>(pub(super) T);

impl<T> FromRequestParts<ApiState> for Id<T>
where
    T: FromStr<Err: std::fmt::Display>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let Name(text) = Name::from_request_parts(parts, state).await?;
        parse(&text).map(Self)
    }
}

/// A value from its text.
pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error: T::Err| ApiError::malformed(error.to_string(), None))
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        expect_media_type(request.headers(), &["application/json"])?;
        let bytes = read_body(request, state).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| not_json(&error))
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    ApiError::Malformed {
        detail: "the body is not the JSON that this path takes".to_owned(),
        hint: Some("/api/docs/ shows the schema of the body"),
        problems: vec![DocumentProblem {
            file: None,
            line: place(error.line()),
            column: place(error.column()),
            path: String::new(),
            message: error.to_string(),
        }],
    }
}

/// A pipeline document: text, YAML or JSON.
#[derive(Debug)]
pub(super) struct Document(pub(super) String);

/// Media types of documents; JSON is read as the YAML that it is.
const DOCUMENT_TYPES: [&str; 6] = [
    "application/yaml",
    "application/json",
    "text/yaml",
    "application/x-yaml",
    "text/x-yaml",
    "text/plain",
];

impl FromRequest<ApiState> for Document {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        expect_media_type(request.headers(), &DOCUMENT_TYPES)?;
        let bytes = read_body(request, state).await?;
        String::from_utf8(bytes.into()).map(Self).map_err(|error| {
            ApiError::malformed(format!("the document is not UTF-8: {error}"), None)
        })
    }
}

/// A body without a type is taken as what it should be; one of another type is refused.
fn expect_media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim();
    if accepted
        .iter()
        .any(|media_type| essence.eq_ignore_ascii_case(media_type))
    {
        Ok(())
    } else {
        Err(ApiError::MediaType(essence.to_owned()))
    }
}

async fn read_body(request: Request, state: &ApiState) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::TooLarge(MAX_BODY_BYTES)
            } else {
                ApiError::malformed("the body broke off", None)
            }
        })
}

/// The page that a client asks for, with one row more, which tells whether a page follows.
pub(super) fn page<T: FromStr<Err: std::fmt::Display>>(
    cursor: Option<&str>,
    limit: Option<u32>,
) -> Result<store::Page<T>, ApiError> {
    let limit = rows(limit, DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS)?;
    let before = cursor.map(parse).transpose()?;
    Ok(store::Page {
        before,
        limit: limit + 1,
    })
}

/// The number of rows that a client asks for.
pub(super) fn rows(asked: Option<u32>, default: u32, most: u32) -> Result<u32, ApiError> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(ApiError::malformed(
            format!("limit is {limit}, and must be 1 to {most}"),
            Some("walk the pages: pass `next` of one answer as `cursor` of the next request"),
        )),
    }
}

/// One page from the rows of the store, which were asked with one row more.
pub(super) fn paged<Row, Item>(
    mut rows: Vec<Row>,
    asked: u32,
    id: impl Fn(&Row) -> String,
    view: impl Fn(Row) -> Item,
) -> Page<Item> {
    let shown = usize::try_from(asked.saturating_sub(1)).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| more).map(id);
    Page {
        items: rows.into_iter().map(view).collect(),
        next,
    }
}
