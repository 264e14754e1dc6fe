//! The document of the API: what the handlers say of themselves, and what is true of all of them.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};

use super::view::{EventView, LogChunk, LogEnd, ProblemDetails};
use crate::model::TokenRole;

/// The frame of the document; the handlers fill in paths and schemas.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Dormouse",
        description = "Keeps build machines asleep until a build needs them: queue pipelines, follow \
            builds and their logs, look after machines, and see what everything cost.\n\nErrors are \
            `application/problem+json` (RFC 9457). Lists come in pages: pass `next` as `cursor`. Send \
            a token as `Authorization: Bearer dm_…`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemDetails, LogChunk, LogEnd, EventView)),
    tags(
        (name = "pipelines", description = "What submissions became"),
        (name = "builds", description = "Units of work on one machine"),
        (name = "logs", description = "What builds print"),
        (name = "machines", description = "Our records of VMs"),
        (name = "images", description = "Dormant machines in the catalogue"),
        (name = "policies", description = "What the operator wants"),
        (name = "planning", description = "What the planner would do, and what it cost"),
        (name = "events", description = "One per state change"),
        (name = "tokens", description = "Who may come in"),
        (name = "service", description = "How the service is"),
    ),
)]
pub(super) struct Frame;

/// The name of the security scheme.
const TOKEN: &str = "token";

/// The document without paths.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    let mut document = Frame::openapi();
    // `derive(OpenApi)` fills in names of authors, which are of no use here.
    document.info.contact = None;
    if let Some(components) = &mut document.components {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme(TOKEN, bearer);
    }
    document
}

/// Adds to every operation what is true of all that need `role`.
pub(super) fn say_role(document: &mut utoipa::openapi::OpenApi, role: TokenRole) {
    let word = super::view::RoleWord::from(role).word();
    for operation in operations(document) {
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, [word])]);
        add_problem(operation, "401", "No token, or one that is not accepted");
        add_problem(operation, "403", &format!("The role {word} is needed"));
    }
}

/// Adds to every operation that anything else is a problem, too.
pub(super) fn say_problems(document: &mut utoipa::openapi::OpenApi) {
    for operation in operations(document) {
        add_problem(operation, "default", "What went wrong");
    }
}

fn add_problem(operation: &mut Operation, status: &str, description: &str) {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ProblemDetails")))
        .build();
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build();
    operation
        .responses
        .responses
        .entry(status.to_owned())
        .or_insert_with(|| response.into());
}

fn operations(document: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(operations_of)
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete]
        .into_iter()
        .flatten()
}
