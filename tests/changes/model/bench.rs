//! A server, a client that changes the same tables as Retool would, and the comparison of both with the
//! model.

use std::collections::BTreeSet;

use baton_retool::proto::connector::Grant;
use tokio_postgres::Client;
use tonic::Status;

use super::steps::{Call, Race, Step};
use crate::support::changes::{Answered, Changes, entitlement_of};
use crate::support::client::{Listing, assert_no_doubles, facts, named};
use crate::support::model::retool::Change;
use crate::support::model::{Answer, Entitlement, Model, Principal, Reason, Rules, WORDS};
use crate::support::organization::UNCHECKED;
use crate::support::postgres::{Database, Provisioning};
use crate::support::server::Server;

/// A server with these flags, and two callers.
pub(super) struct Bench {
    callers: [Changes; 2],
    _server: Server,
    retool: Client,
    rules: Rules,
    dry_run: bool,
    _database: Database,
}

impl Bench {
    /// Starts the server with the role that `setup-sql` creates.
    pub(super) async fn new(flags: &[&str], rules: Rules) -> Self {
        let database = Database::small().await;
        let retool = database.client().await;
        retool.batch_execute(UNCHECKED).await.unwrap();
        let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
        let (changes, server) = Changes::serving_at(&database.url_as(&role), flags).await;
        let callers = [changes, Changes::of(&server).await];
        let dry_run = flags.contains(&"--dry-run");
        Self { callers, _server: server, retool, rules, dry_run, _database: database }
    }

    async fn begin(&self) -> Result<Model, String> {
        let model = Model::organizations();
        self.retool.batch_execute(&model.to_sql()).await.map_err(|error| format!("{error:?}"))?;
        Ok(model)
    }

    pub(super) async fn happens(&self, steps: &[Step]) -> Result<(), String> {
        let mut model = self.begin().await?;
        for step in steps {
            let happened = match step {
                Step::Call(call) => self.is_answered(&mut model, call).await,
                Step::Held { revokes, of_users, index } => {
                    let mut held = model.held(self.rules);
                    held.retain(|(_, principal)| !of_users || matches!(principal, Principal::User(_)));
                    if held.is_empty() {
                        continue;
                    }
                    let (entitlement, principal) = *index.get(&held);
                    let call = Call { revokes: *revokes, entitlement, principal };
                    self.is_answered(&mut model, &call)
                        .await
                        .map_err(|problem| format!("{call:?}: {problem}"))
                }
                Step::Rejoin { group, user } => {
                    let Some((page, level)) = model.said(*group) else { continue };
                    let entitlement = Entitlement::Page { page, of_users: true, level };
                    let call = Call { revokes: false, entitlement, principal: Principal::User(*user) };
                    self.is_answered(&mut model, &call).await
                }
                Step::Retool(change) => self.retool(&mut model, change).await,
                Step::ListGroup(group, size) => self.pages(&model, "group", model.key(*group), *size).await,
                Step::ListPage(page, size) => self.pages(&model, "page", *page, *size).await,
            };
            happened.map_err(|problem| format!("{step:?}: {problem}"))?;
        }
        self.lists_everything(&model).await
    }

    /// Runs the call on the server and in the model, and compares the responses, the listing and the tables.
    async fn is_answered(&self, model: &mut Model, call: &Call) -> Result<(), String> {
        let (id, _) = call.spelled(model);
        let answered = call.send(&self.callers[0], model).await;
        let mut after = model.clone();
        let wanted = call.decide(&mut after, self.rules);
        self.check(&wanted, &answered)?;
        if !self.dry_run {
            *model = after;
        }
        self.has_tables(model).await?;
        let Some(listed) = self.lists(model, &id).await? else { return Ok(()) };
        let grants = answered.map(|answered| answered.grants).unwrap_or_default();
        match grants.iter().find(|grant| !self.dry_run && !listed.contains(grant)) {
            Some(grant) => Err(format!("not as the listing has it: {grant:?}")),
            None => Ok(()),
        }
    }

    /// Runs both calls concurrently. The responses and the tables must match one of the two sequential
    /// orders.
    async fn race(&self, model: &mut Model, one: &Call, other: &Call) -> Result<(), String> {
        let (one, other) = (&one.meant(model), &other.meant(model));
        let answers = tokio::join!(one.send(&self.callers[0], model), other.send(&self.callers[1], model));
        let found = Model::read(&self.retool).await;
        let (mut first, mut second) = (model.clone(), model.clone());
        let in_order = (one.decide(&mut first, self.rules), other.decide(&mut first, self.rules));
        let reversed = (other.decide(&mut second, self.rules), one.decide(&mut second, self.rules));
        let mut problems = Vec::new();
        for (mut after, (to_one, to_other)) in [(first, in_order), (second, (reversed.1, reversed.0))] {
            after.settle(&found);
            let compared = self.check(&to_one, &answers.0).and_then(|()| self.check(&to_other, &answers.1));
            let compared = compared.and_then(|()| none(after.differences(&found)));
            match compared {
                Ok(()) => {
                    *model = after;
                    return Ok(());
                }
                Err(problem) => problems.push(problem),
            }
        }
        Err(format!("neither order: {problems:#?}"))
    }

    fn check(&self, wanted: &Answer, answered: &Result<Answered, Status>) -> Result<(), String> {
        match (wanted, answered) {
            (Answer::Done(did, grants), Ok(answered)) => {
                let (now, returned) = (answered.did(), facts(&answered.grants));
                if (&now, &returned) != (did, grants) {
                    return Err(format!("wanted {did:?} and {grants:?}, got {now:?} and {returned:?}"));
                }
                if answered.says("dry_run") != self.dry_run {
                    return Err(format!("does not say whether it was a dry run: {answered:?}"));
                }
                Ok(())
            }
            // A dry run writes nothing, so no trigger runs.
            (Answer::Refused(reasons), Ok(answered))
                if self.dry_run && matches!(reasons.as_slice(), [Reason::Trigger]) =>
            {
                if answered.says("dry_run") { Ok(()) } else { Err(format!("not a dry run: {answered:?}")) }
            }
            (Answer::Refused(reasons), Err(status)) => {
                let says = |reason: &&Reason| {
                    status.code() == reason.code()
                        && reason.words().iter().all(|words| status.message().contains(words.as_str()))
                };
                match reasons.iter().find(says) {
                    Some(_) => Ok(()),
                    None => Err(format!("wanted one of {reasons:?}, got {status:?}")),
                }
            }
            (wanted, got) => Err(format!("wanted {wanted:?}, got {got:?}")),
        }
    }

    async fn retool(&self, model: &mut Model, change: &Change) -> Result<(), String> {
        let sql = model.change(change);
        self.retool.batch_execute(&sql).await.map_err(|error| format!("{sql}: {error:?}"))
    }

    async fn has_tables(&self, model: &mut Model) -> Result<(), String> {
        let found = Model::read(&self.retool).await;
        model.settle(&found);
        none(model.differences(&found))
    }

    /// Verifies the listing of the entitlement's resource and returns it; `None` if the model has no such
    /// resource.
    async fn lists(&self, model: &Model, entitlement: &str) -> Result<Option<Vec<Grant>>, String> {
        let on = entitlement_of(entitlement).resource.unwrap().id.unwrap();
        let Ok(key) = on.resource[1..].parse() else { return Ok(None) };
        let wanted = match on.resource_type.as_str() {
            "group" => model.group_grants(key, self.rules),
            "page" => model.page_grants(key, self.rules),
            _ => return Ok(None),
        };
        let listed = self.callers[0].listed(entitlement).await;
        let found = facts(&listed);
        if found.iter().eq(&wanted) {
            return Ok(Some(listed));
        }
        let found: BTreeSet<_> = found.into_iter().collect();
        Err(format!(
            "the listing of {} lacks {:#?} and has {:#?}",
            on.resource,
            wanted.difference(&found).collect::<Vec<_>>(),
            found.difference(&wanted).collect::<Vec<_>>()
        ))
    }

    /// Verifies that a listing in small pages contains each grant once.
    async fn pages(&self, model: &Model, type_id: &str, key: i32, size: u32) -> Result<(), String> {
        let wanted = match type_id {
            "group" => model.group_grants(key, self.rules),
            _ => model.page_grants(key, self.rules),
        };
        let on = named(type_id, &format!("{}{key}", &type_id[..1]));
        let pages = self.callers[1].client.pages(&Listing::Grants(on), size).await;
        let ids: Vec<String> = pages.into_iter().flat_map(|page| page.rows).collect();
        assert_no_doubles(&ids);
        let (ids, wanted): (BTreeSet<String>, BTreeSet<String>) =
            (ids.into_iter().collect(), wanted.into_iter().map(|fact| fact.id).collect());
        match ids == wanted {
            true => Ok(()),
            false => Err(format!("wanted {wanted:?}, listed {ids:?}")),
        }
    }

    async fn lists_everything(&self, model: &Model) -> Result<(), String> {
        let (groups, pages) = model.keys();
        for group in groups {
            self.lists(model, &format!("group:g{group}:member")).await?;
        }
        for page in pages {
            self.lists(model, &format!("page:p{page}:user:{}", WORDS[1])).await?;
        }
        Ok(())
    }

    pub(super) async fn races(&self, races: &[Race]) -> Result<(), String> {
        let mut model = self.begin().await?;
        for race in races {
            let happened = match race {
                Race::Calls(one, other) => self.race(&mut model, one, other).await,
                Race::Retool(change) => self.retool(&mut model, change).await,
            };
            happened.map_err(|problem| format!("{race:?}: {problem}"))?;
        }
        self.lists_everything(&model).await
    }
}

fn none(differences: Vec<String>) -> Result<(), String> {
    if differences.is_empty() { Ok(()) } else { Err(format!("the tables differ: {differences:#?}")) }
}
