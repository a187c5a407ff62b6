// The texts of the pages that the tests look for. Everything else is found by what was typed or stored.

export const signedOut = "You are not signed in";
export const hasLeft = "You have signed out";
export const isSignedIn = /^You are now signed in for the tenant /;
export const tenant = /^Tenant /;

/** After a session has ended while a form was open. */
export const session = {
  ended: "Sign in to resubmit your changes",
  goOn: "Continue after signing in",
  again: "Resubmit",
  reallyAgain: "Resubmit your changes?",
  continue: "Continue",
  another: "Sign in as another user?",
  stay: "Stay signed in",
};

/** The error at the top of a page during an outage. */
export const outage = "The server is unavailable";
export const signOut = "Sign out";

export const pages = {
  logs: { path: "", entry: "Audit logs", heading: /^Audit logs/ },
  status: { path: "status", entry: "Export status", heading: /^Export status/ },
  connector: { path: "connector", entry: "S3 Audit Log Exporter", heading: /^S3 Audit Log Exporter/ },
  settings: { path: "settings", entry: "Audit log export", heading: /^Audit log export/ },
};
/** What failures and the settings link to. It needs no session. */
export const obstacles = { path: "obstacles", link: "Obstacles", heading: "Obstacles", section: "a bucket policy" };
/**
 * The path of every page, for an admin whose exports work. Add new pages here: accessibility is checked on all of them. A
 * page that another status than 200 answers has it here. The setup is missing, since it leads to the status by then.
 */
export const everyPage = [
  { path: "" },
  { path: "?q=nothing-has-this-word" },
  { path: "?period=custom&from=2026-11-02T00:00&to=2026-11-01T00:00", status: 400 },
  { path: "status" },
  { path: "connector" },
  { path: "connector/disconnect" },
  { path: "connector/external-id" },
  { path: "settings" },
  { path: "setup/steps" },
  { path: "replay" },
  { path: "replay?from=2026-11-02T00:00&to=2026-11-01T00:00", status: 400 },
  { path: "obstacles" },
  { path: "proof" },
  { path: "no/such/page", status: 404 },
];
export const notFound = "Page not found";
/** Where a sign-in leads: admins whose exports are not set up land in the setup. */
export const landing = /^(Audit logs|Set up export)/;
export const setup = {
  path: "setup",
  entry: "Set up export",
  heading: /^Set up export/,
  create: "Create the bucket for me",
  keep: "Save and continue",
  change: "Change",
  done: /^Done: /,
  activate: "Verify and activate",
  firstExport: "First export",
  toStatus: "Go to export status",
  send: "Send these steps to your AWS administrator",
  steps: "Steps for your AWS administrator",
  copySteps: "Copy the steps",
  sendBack: "SEND BACK",
};
/** Entries of the menu. */
export const onlyForAdmins = ["connector", "settings"];
/** Paths of pages that are not in a reader's menu either. */
export const pathsOnlyForAdmins = ["setup", "setup/steps", "replay", "connector/external-id", "connector/disconnect"];
export const refusedToReaders = "audit-logs:admin";

export const badges = {
  notConnected: "Not connected",
  notVerified: "Not verified",
  failing: "Failing",
  retrying: "Retrying",
  waiting: "Waiting for the first export",
  exporting: "Exporting",
  disconnected: "Disconnected",
};

export const connector = {
  externalId: "External ID",
  copy: "Copy the external ID",
  copied: "Copied the external ID",
  quickCreate: /^Create role in AWS/,
  role: "Role ARN",
  connect: /^Connect( this role)?$/,
  connected: "Connected role",
  again: "Test again",
  works: "The role passed the test",
  disconnect: "Disconnect",
  reallyDisconnect: "Disconnect?",
  isDisconnected: "The role is disconnected",
  ways: { first: "CloudFormation", cli: "AWS CLI", terraform: "Terraform" },
};

export const settings = {
  fields: { bucket: /^Bucket$/, region: /^Region$/, prefix: /^Prefix/, frequencyHours: /^Frequency/ },
  choices: { format: "Format", compression: "Compression", schema: "Schema" },
  fromADate: "From a date",
  date: "Date (UTC)",
  preview: "Preview",
  ifMoved: "If you save another bucket",
  moves: "still go to the old place",
  verify: "Verify connectivity",
  passed: "Passed",
  works: "Ready: exports will work with these settings.",
  wouldFail: "Exports would fail",
  failed: "Failed",
  steps: 5,
  save: "Verify and save",
  anyway: "Save anyway",
  stale: "Before your last change",
  saved: "Settings saved",
  wrong: "Check the highlighted fields",
};

export const logs = {
  periods: { hour: "Last hour", day: "24 hours", week: "7 days", month: "30 days", custom: "Custom" },
  from: /^From/,
  to: /^to/,
  facets: { action: "Action", user: "User", logType: "Log type" },
  search: "Search events",
  apply: "Apply",
  clear: "Clear filters",
  table: /^Audit events/,
  nothing: "No events match",
  wrongDates: "The start date must be before the end",
  undated: "No dates chosen",
  more: "Load more",
  open: "Show full event",
  openPlainly: "Full event",
  facts: ["Who", "What", "When"],
  copyJson: "Copy JSON",
  permalink: "Permalink",
  moreByUser: "More by this user",
  chips: { user: /^User: /, notUser: /^User is not: / },
  exclude: (value) => `Exclude ${value}`,
  countNow: "Count events and list filter values",
  histogram: "Events over time, in UTC",
  find: "Find in Action",
  presets: "Presets",
  preset: "Failed logins, last 7 days",
  file: "CSV",
  fileForExcel: "CSV for Excel",
};

export const status = {
  lastExport: "Last export",
  none: "None",
  verify: "How to verify",
  pem: /^PEM/,
  signed: "Signed",
  exports: "Exports",
  proves: "What this proves",
  proof: /^Proof/,
  nextStep: "Next step",
  fixThenRetry: "Fix the cause, then retry.",
  repaired: /Repaired, retrying at/,
  retry: "Retry now",
  requested: "Export requested",
  incidents: "Incidents",
  ongoing: "Ongoing",
  resolved: "Resolved",
  firstEvent: "First",
  deliverAgain: /^Deliver again/,
  preview: "Preview",
  duplicates: "Last-Modified",
  again: { start: "Deliver again", requested: "Redelivery requested", refresh: "Refresh", done: /^Delivered again/ },
};
