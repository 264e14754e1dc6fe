//! `dormouse token`

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::{Args, Subcommand};

use crate::api::view::{CreateToken, CreatedToken, Page, RoleWord, TokenView};
use crate::cli::command::parse_word;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, words};
use crate::cli::report::{Outcome, file_error, usage};
use crate::model::{Timestamp, TokenId};

/// Make, list and revoke API tokens (admins only)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse token create ci --role submitter
  dormouse token list
  dormouse token revoke tok_01jd3x9k2v6q8w4e5r7t9y1s3f")]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; its text is shown this once
    #[command(after_help = "\
Examples:
  dormouse token create ci --role submitter
  dormouse token create me --role admin --save

The text alone goes to standard output: DORMOUSE_TOKEN=$(dormouse token create ci)

JSON: {\"token\", \"secret\"}, as in POST /api/v1/tokens.")]
    Create {
        /// What to call it; recorded as the author of what is done with it
        name: String,
        /// What it may do: reader, submitter, admin
        #[arg(long, value_name = "ROLE", default_value = "submitter", value_parser = parse_word::<RoleWord>)]
        role: RoleWord,
        /// Keep it in ~/.config/dormouse/token, where this program looks for it
        #[arg(long)]
        save: bool,
    },
    /// List all tokens, without their texts
    #[command(after_help = "\
Example:
  dormouse token list

JSON: an array of tokens, as in GET /api/v1/tokens.")]
    List,
    /// Stop accepting a token
    #[command(after_help = "\
Example:
  dormouse token revoke tok_01jd3x9k2v6q8w4e5r7t9y1s3f

JSON: {\"revoked\": ID}.")]
    Revoke {
        /// The token's id
        id: TokenId,
    },
}

impl Token {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        match self.action {
            Action::Create { name, role, save } => create(ctx, name, role, save).await,
            Action::List => list(ctx).await,
            Action::Revoke { id } => revoke(ctx, id).await,
        }
    }
}

async fn create(ctx: &Context, name: String, role: RoleWord, save: bool) -> Outcome {
    let body = CreateToken { name, role };
    let created: CreatedToken = ctx.client()?.post_json(&["tokens"], &body).await?;
    if save {
        let no_home = || usage("there is no home directory to save the token in");
        let path = ctx.token_file().ok_or_else(no_home)?;
        write_private(&path, &created.secret)
            .map_err(|error| file_error("write the token to", &path, &error))?;
        ctx.output.note(&format!("saved in {}", path.display()));
    }
    ctx.output.answer(&created, |created| {
        if save {
            String::new()
        } else {
            format!("{}\n", created.secret)
        }
    })?;
    Ok(Exit::Success)
}

/// Writes a file that only its owner can read, from its first byte on.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // A file that exists would keep its mode.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{text}")
}

async fn list(ctx: &Context) -> Outcome {
    let page: Page<TokenView> = ctx.client()?.get(&["tokens"], &Vec::new()).await?;
    let now = ctx.output.now;
    ctx.output
        .list(&page.items, "tokens", |tokens| table(tokens, now))?;
    Ok(Exit::Success)
}

async fn revoke(ctx: &Context, id: TokenId) -> Outcome {
    ctx.client()?
        .delete_silently(&["tokens", &id.to_string()])
        .await?;
    let answer = serde_json::json!({ "revoked": id });
    ctx.output.answer(&answer, |_| format!("revoked {id}\n"))?;
    Ok(Exit::Success)
}

/// Tokens as a table.
pub(crate) fn table(tokens: &[TokenView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        column("ID", Fit::Whole),
        column("ROLE", Fit::Whole),
        column("NAME", Fit::Shrink),
        column("MADE", Fit::Drop(1)),
        column("REVOKED", Fit::Drop(2)),
    ]);
    for token in tokens {
        let revoked = token.revoked_at.map(|at| words::ago(at, now));
        table.row([
            (token.id.to_string(), Tone::Plain),
            (token.role.word().to_owned(), Tone::Plain),
            (token.name.clone(), Tone::Plain),
            (words::ago(token.created_at, now), Tone::Faint),
            (revoked.unwrap_or_else(|| words::NONE.to_owned()), Tone::Bad),
        ]);
    }
    table
}
