//! Machines: list, look, end.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;

use crate::api::auth::Actor;
use crate::api::error::ApiError;
use crate::api::extract::{Id, Params, page, paged};
use crate::api::state::ApiState;
use crate::api::view::{MachineView, Page, ProblemDetails};
use crate::model::MachineId;
use crate::store;

/// Which machines to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct MachineQuery {
    /// Those that are gone, too.
    #[serde(default)]
    all: bool,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Rows of the page, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// List machines
///
/// Newest first, each with its cost so far.
#[utoipa::path(
    get, path = "/machines", tag = "machines", params(MachineQuery),
    responses((status = 200, description = "A page of machines", body = Page<MachineView>))
)]
pub(in crate::api) async fn list_machines(
    State(state): State<ApiState>,
    Params(query): Params<MachineQuery>,
) -> Result<Json<Page<MachineView>>, ApiError> {
    let page: store::Page<MachineId> = page(query.cursor.as_deref(), query.limit)?;
    let limit = page.limit;
    let rows = state.store.machines(query.all, page).await?;
    let now = state.clock.now();
    Ok(Json(paged(
        rows,
        limit,
        |machine| machine.id.to_string(),
        |machine| MachineView::new(machine, now),
    )))
}

/// Show a machine
#[utoipa::path(
    get, path = "/machines/{id}", tag = "machines",
    params(("id" = String, Path, description = "Machine id")),
    responses((status = 200, description = "The machine", body = MachineView))
)]
pub(in crate::api) async fn show_machine(
    State(state): State<ApiState>,
    Id(id): Id<MachineId>,
) -> Result<Json<MachineView>, ApiError> {
    let machine = state
        .store
        .machine(id)
        .await?
        .ok_or_else(|| ApiError::NotFound {
            what: "machine",
            id: id.to_string(),
        })?;
    Ok(Json(MachineView::new(machine, state.clock.now())))
}

/// End a machine
///
/// Asks for the end of a machine that has no build; the answer is the machine as it stands now.
#[utoipa::path(
    post, path = "/machines/{id}/end", tag = "machines",
    params(("id" = String, Path, description = "Machine id")),
    responses(
        (status = 200, description = "The machine as it stands now", body = MachineView),
        (status = 409, description = "A build is bound to it", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn end_machine(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Id(id): Id<MachineId>,
) -> Result<Json<MachineView>, ApiError> {
    let machine = state.desk.end_machine(id, &actor.name).await?;
    Ok(Json(MachineView::new(machine, state.clock.now())))
}
