//! Black box: the real server on a real Postgres, through a real client.

// The lints on panics are for code that ships.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

mod behaviour {
    mod account_refusals;
    mod accounts;
    mod action_runs;
    mod actions;
    mod bad_input;
    mod changes_faults;
    mod changes_groups;
    mod changes_model;
    mod changes_pages;
    mod changes_races;
    mod changes_record;
    mod changes_users;
    mod child;
    mod command_line;
    mod data_access;
    mod data_identity;
    mod data_isolation;
    mod data_items;
    mod data_oracle;
    mod data_paging;
    mod data_profiles;
    mod doctor;
    mod doctor_changes;
    mod doctor_entry;
    mod doctor_rest;
    mod doctor_settings;
    mod doctor_tables;
    mod encryption;
    mod health;
    mod hostile;
    mod limits;
    mod logs;
    mod metrics;
    mod operator;
    mod outages;
    mod pooler;
    mod privileges;
    mod rest_errors;
    mod rest_set_up;
    mod services;
    mod sessions;
    mod setup_sql;
    mod setup_sql_retools;
    mod setup_sql_scope;
    mod shared_resources;
    mod sidecar;
    mod sync_annotations;
    mod sync_answers;
    mod sync_calls;
    mod sync_errors;
    mod sync_resume;
    mod sync_targets;
    mod telemetry;
    mod telemetry_end;
    mod telemetry_faults;
    mod validation;
}
