//! What policies say of a thing, all of them together.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::api::state::ApiState;
use crate::api::view::{EffectiveView, ProblemDetails};
use crate::books::DEFAULT_MAX_MACHINES;
use crate::policy::Subject;

/// What to tell the policy of. What is left out is not known: policies that select by it do not
/// speak.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct EffectiveQuery {
    /// A project; any name, since projects are not registered.
    project: Option<String>,
    /// An image of the catalogue.
    image: Option<String>,
    /// Labels of a build, with commas between them.
    #[param(example = "tier=nightly,team=core")]
    labels: Option<String>,
    /// The priority of a build.
    priority: Option<i32>,
}

/// Show what holds
///
/// The terms of a project, an image, a build: each knob with the policy that decides it, and the
/// limits and budgets that hold.
#[utoipa::path(
    get, path = "/policies/effective", tag = "policies", params(EffectiveQuery),
    responses(
        (status = 200, description = "What holds", body = EffectiveView),
        (status = 404, description = "No such image", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn show_effective(
    State(state): State<ApiState>,
    Params(query): Params<EffectiveQuery>,
) -> Result<Json<EffectiveView>, ApiError> {
    let labels = query.labels.as_deref().map(labels).transpose()?;
    let provider = match &query.image {
        Some(image) => Some(provider_of(&state, image).await?),
        None => None,
    };
    let policies = state.desk.policies().await?;
    let subject = Subject {
        project: query.project.as_deref(),
        image: query.image.as_deref(),
        provider: provider.as_deref(),
        labels: labels.as_ref(),
        priority: query.priority,
    };
    let view = EffectiveView::new(&policies, &subject, DEFAULT_MAX_MACHINES);
    Ok(Json(view))
}

async fn provider_of(state: &ApiState, name: &str) -> Result<String, ApiError> {
    let images = state.desk.images().await?;
    let image = images.into_iter().find(|image| image.name == name);
    let image = image.ok_or_else(|| ApiError::NotFound {
        what: "image",
        id: name.to_owned(),
    })?;
    Ok(image.spec.provider)
}

fn labels(text: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    let pairs = text.split(',').filter(|text| !text.is_empty()).map(pair);
    pairs.collect::<Option<_>>().ok_or_else(|| {
        ApiError::malformed(
            "`labels` is no list of labels",
            Some("write labels=tier=nightly,team=core"),
        )
    })
}
