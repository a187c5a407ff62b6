// What the pages say, as far as the tests look for it. Everything else is found by what was typed or stored.

export const signedOut = "You are not signed in";
export const hasLeft = "You have signed out";
export const isSignedIn = /^You are now signed in for the tenant /;
export const tenant = /^Tenant /;

/** When a session ends while something is typed. */
export const session = {
  ended: "Sign in and send it again",
  goOn: "I have signed in: go on",
  again: "Send it again",
  reallyAgain: "Send it again?",
};

/** What stands at the top of a page while something does not answer. */
export const outage = "The server can’t do this at the moment";
export const signOut = "Sign out";

export const pages = {
  logs: { path: "", entry: "Audit logs", heading: /^Audit logs/ },
  status: { path: "status", entry: "Export status", heading: /^Export status/ },
  connector: { path: "connector", entry: "S3 Audit Log Exporter", heading: /^S3 Audit Log Exporter/ },
  settings: { path: "settings", entry: "Audit Logs", heading: /^Configuration/ },
};
export const onlyForAdmins = ["connector", "settings"];
export const refusedToReaders = "audit-logs:admin";

export const badges = {
  notConnected: "Not connected",
  connected: "Connected, not configured",
  active: "Active",
  disconnected: "Disconnected",
};

export const connector = {
  externalId: "External ID",
  copy: "Copy the external ID",
  copied: "Copied the external ID",
  quickCreate: /^CloudFormation assume role/,
  role: "Role ARN",
  connect: /^Connect( another role)?$/,
  disconnect: "Disconnect",
  reallyDisconnect: "Disconnect?",
  isDisconnected: "The role is disconnected",
  ways: { first: "CloudFormation", cli: "AWS CLI", terraform: "Terraform" },
};

export const settings = {
  fields: { bucket: /^Bucket$/, region: /^Region$/, prefix: /^Prefix/, frequencyHours: /^Frequency/ },
  choices: { format: "Format", compression: "Compression" },
  fromADate: "From a date on",
  date: "The date, in UTC",
  preview: "Preview",
  verify: "Verify connectivity",
  passed: "Passed",
  works: "Deliveries work as these settings are.",
  wouldFail: "Deliveries would fail",
  failed: "Failed",
  steps: 5,
  save: "Save",
  saved: "The settings are saved",
  wrong: "Correct the fields marked below",
};

export const logs = {
  periods: { hour: "Last hour", day: "24 hours", week: "7 days", month: "30 days", custom: "Custom" },
  from: /^From/,
  to: /^to/,
  facets: { action: "Action", user: "User", logType: "Log type" },
  search: "Search in the events",
  apply: "Apply",
  clear: "Clear filters",
  table: /^Audit events/,
  nothing: "No event matches",
  wrongDates: "The beginning of the period is not before the end of the period",
  undated: "No dates are chosen yet",
  more: "Load more",
  open: "Show the whole event",
  openPlainly: "The whole event as JSON",
  file: "CSV",
};

export const status = {
  lastExport: "Last export",
  none: "None",
};
