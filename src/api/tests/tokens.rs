//! Making, listing and revoking tokens.

use axum::http::Method;

use super::world::{Ask, World};
use crate::api::view::{CreateToken, CreatedToken, Page, RoleWord, TokenView, WhoAmI};
use crate::model::TokenRole;

fn create(name: &str) -> Ask {
    let request = CreateToken {
        name: name.to_owned(),
        role: RoleWord::Submitter,
    };
    Ask::post("tokens").json(&request)
}

#[tokio::test]
async fn a_token_works_from_its_making_to_its_revocation() {
    let world = World::new();
    let reply = world.call(create("ci")).await;
    let created: CreatedToken = reply.json(201);
    let printed = format!("{created:?}");
    assert!(!printed.contains(&created.secret), "{printed}");
    assert_eq!(reply.header("cache-control"), "no-store");
    let who = || {
        let header = format!("Bearer {}", created.secret);
        Ask::new(Method::GET, "whoami").header("authorization", header)
    };
    let me: WhoAmI = world.call(who()).await.json(200);
    assert_eq!((me.name.as_str(), me.role), ("ci", RoleWord::Submitter));

    let path = format!("tokens/{}", created.token.id);
    let revoked = world.call(Ask::delete(&path)).await;
    assert_eq!((revoked.status.as_u16(), revoked.body.len()), (204, 0));
    world.call(who()).await.problem(401);
    world.call(Ask::delete(&path)).await.problem(404);
}

#[tokio::test]
async fn tokens_are_listed_without_their_texts() {
    let world = World::new();
    world.call(create("ci")).await;
    let reply = world.call(Ask::get("tokens").role(TokenRole::Admin)).await;
    let text = reply.text();
    assert!(!text.contains("hash") && !text.contains("dm_"), "{text}");
    let tokens: Page<TokenView> = reply.json(200);
    let names: Vec<_> = tokens
        .items
        .iter()
        .map(|token| token.name.as_str())
        .collect();
    assert_eq!(names, ["ci", "admin", "submitter", "reader"]);
}

#[tokio::test]
async fn names_of_tokens_are_short_and_printable() {
    let world = World::new();
    for name in ["", "a\nb", "a\u{0}", &"x".repeat(101)] {
        world.call(create(name)).await.problem(400);
    }
    let longest = create(&"\u{fc}".repeat(100));
    assert_eq!(world.call(longest).await.status, 201);
}
