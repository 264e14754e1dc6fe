//! How budgets stand, and more money for them.

use axum::extract::State;
use axum::{Extension, Json};

use crate::api::auth::Actor;
use crate::api::error::ApiError;
use crate::api::extract::JsonBody;
use crate::api::state::ApiState;
use crate::api::view::{ApproveBudget, BudgetView, Page};
use crate::books::Approval;
use crate::engine::DeskError;
use crate::model::{BudgetPart, Money};

/// List budgets
///
/// How each part of each budget stands that has any use in the present period.
#[utoipa::path(
    get, path = "/budgets", tag = "planning",
    responses((status = 200, description = "All budgets", body = Page<BudgetView>))
)]
pub(in crate::api) async fn list_budgets(
    State(state): State<ApiState>,
) -> Result<Json<Page<BudgetView>>, ApiError> {
    let budgets = state.desk.budgets().await?;
    let views = budgets.into_iter().map(BudgetView::from);
    Ok(Json(Page::whole(views.collect())))
}

/// Most letters of a reason: a sentence or two.
const MAX_REASON_CHARS: usize = 500;

/// Most that one approval adds: beyond, the policy is what should change.
const MOST_APPROVED: Money = Money::from_micros(1_000_000_000_000);

/// Approve more money
///
/// Adds to a budget's amount until its present period ends. Builds that wait for it are looked at anew.
/// The answer is empty where the state is loaded anew right after; the approval stands.
#[utoipa::path(
    post, path = "/budgets/approvals", tag = "planning", request_body = ApproveBudget,
    responses((status = 200, description = "How the budget stands now", body = Page<BudgetView>))
)]
pub(in crate::api) async fn approve_budget(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    JsonBody(request): JsonBody<ApproveBudget>,
) -> Result<Json<Page<BudgetView>>, ApiError> {
    let amount = Money::from_micros(request.micro_usd);
    if amount <= Money::ZERO || amount > MOST_APPROVED {
        return Err(ApiError::malformed(
            format!("an approval is for more than nothing and at most {MOST_APPROVED}"),
            Some("to spend less, lower the budget in its policy"),
        ));
    }
    if request.reason.chars().count() > MAX_REASON_CHARS {
        return Err(ApiError::malformed(
            format!("a reason has at most {MAX_REASON_CHARS} characters"),
            None,
        ));
    }
    let part = match request.part.as_deref() {
        Some(text) => Some(part(&state, &request, text).await?),
        None => None,
    };
    let approval = Approval {
        policy: request.policy,
        budget: request.budget,
        part,
        amount,
        reason: request.reason,
    };
    let (policy, budget) = (approval.policy.clone(), approval.budget.clone());
    state.desk.approve(approval, &actor.name).await?;
    let budgets = match state.desk.budgets().await {
        // It is approved: somebody who is asked to come back would approve it twice.
        Err(DeskError::Busy(_)) => Vec::new(),
        answer => answer?,
    };
    let budgets = budgets.into_iter();
    let of_it = budgets.filter(|report| report.policy == policy && report.budget == budget);
    Ok(Json(Page::whole(of_it.map(BudgetView::from).collect())))
}

/// What a text names: an id by its prefix, else a name of what the budget is for each of.
async fn part(
    state: &ApiState,
    request: &ApproveBudget,
    text: &str,
) -> Result<BudgetPart, ApiError> {
    if let Ok(id) = text.parse() {
        return Ok(BudgetPart::Build(id));
    }
    if let Ok(id) = text.parse() {
        return Ok(BudgetPart::Pipeline(id));
    }
    let policies = state.desk.policies().await?;
    let mut budgets = policies
        .iter()
        .filter(|policy| policy.name == request.policy)
        .flat_map(|policy| &policy.spec.budgets);
    let is_by_image = budgets.any(|budget| {
        budget.name == request.budget && budget.each == crate::model::BudgetEach::Image
    });
    Ok(if is_by_image {
        BudgetPart::Image(text.to_owned())
    } else {
        BudgetPart::Project(text.to_owned())
    })
}
