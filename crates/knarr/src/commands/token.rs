//! `knarr token`: the tokens by which machines join the cluster. Flags, output and messages are those of
//! `kubeadm token`.
//!
//! `listed` shows tokens, `join` writes the command line that joins; what a token is made of is in [`crate::tokens`].

mod join;
mod listed;

use anyhow::{Context, Result, bail};
use base::{Clock, SystemClock};
use kube::Client;
use kube::api::ListParams;
use resources::bootstrap_token::{self, ID_PATTERN, PATTERN, SECRET_TYPE};

use super::say;
use crate::api_error::words;
use crate::arguments::{NewToken, Token};
use crate::layout::Layout;
use crate::which::layout_of;
use crate::{admin, tokens};

/// Runs one of the token commands.
///
/// # Errors
/// Says what is wrong with the arguments, or what the API refused.
pub async fn run(command: &Token) -> Result<()> {
    match command {
        Token::Create(new) => create(new).await,
        Token::List(which) => list(&layout_of(which)?).await,
        Token::Delete { which, tokens } => delete(&layout_of(which)?, tokens).await,
        Token::Generate => say(&format!("{}\n", bootstrap_token::Token::generate())),
    }
}

/// The administrator's client.
fn client(layout: &Layout) -> Result<Client> {
    Ok(client::https(&admin::of(layout)?)?)
}

async fn create(new: &NewToken) -> Result<()> {
    let layout = layout_of(&new.which)?;
    let client = client(&layout)?;
    let token = tokens::create(&client, &new.wanted, SystemClock.now()).await?;
    match new.print_join_command {
        true => say(&format!("{}\n", join::command(&client, &token).await?)),
        false => say(&format!("{token}\n")),
    }
}

async fn list(layout: &Layout) -> Result<()> {
    let parameters = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let found = tokens::secrets(&client(layout)?).list(&parameters).await;
    let found = found.map_err(words).context("failed to list bootstrap tokens")?;
    let (shown, complaints) = listed::table(&found.items, SystemClock.now())?;
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    say(&shown)
}

async fn delete(layout: &Layout, tokens: &[String]) -> Result<()> {
    let client = client(layout)?;
    for text in tokens {
        let id = match bootstrap_token::Token::parse(text) {
            Some(token) => token.id,
            None if bootstrap_token::is_id(text) => text.clone(),
            None => bail!("given token {text:?} didn't match pattern {ID_PATTERN:?} or {PATTERN:?}"),
        };
        tokens::delete(&client, &id).await?;
        say(&format!("bootstrap token {id:?} deleted\n"))?;
    }
    Ok(())
}
