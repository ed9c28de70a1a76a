// For each alert series that raise it, a sample a minute; `promtool test rules` evaluates them.

export interface AlertCase {
  readonly alert: string;
  /** Series and their values, in promtool's notation. */
  readonly series: Readonly<Record<string, string>>;
  /** Minutes until it is looked at; 60 when it is not said. */
  readonly minutes?: number;
  /** Labels of the alert, beside its severity. */
  readonly labels?: Readonly<Record<string, string>>;
}

const STEADY = '0x90';
const GROWING = '0+60x90';
const SLOWLY = '0+1x90';
const PROCESS = { instance: 'a', job: 'tempo' };
const BOTH = '{instance="a",job="tempo"}';

/** A histogram whose values all lie between the two bounds. */
function histogram(name: string, below: string, above: string): Record<string, string> {
  const series = (le: string): string => `${name}_bucket{instance="a",job="tempo",le="${le}"}`;
  return { [series(below)]: STEADY, [series(above)]: GROWING, [series('+Inf')]: GROWING };
}

const counter = (name: string): Record<string, string> => ({ [`${name}${BOTH}`]: GROWING });

export const ALERT_CASES: readonly AlertCase[] = [
  {
    alert: 'TempoPushesFail',
    series: { tempo_distributor_push_errors_total: SLOWLY, tempo_distributor_push_total: '0+50x90' },
  },
  {
    alert: 'TempoSpansDiscarded',
    series: { 'tempo_discarded_spans_total{tenant="a",reason="rate_limited"}': SLOWLY },
    labels: { tenant: 'a', reason: 'rate_limited' },
  },
  { alert: 'TempoLogWritesFail', series: counter('tempo_log_write_failures_total'), labels: PROCESS },
  {
    alert: 'TempoLogDamaged',
    series: { [`tempo_log_corrupt_frames_total${BOTH}`]: '1x90' },
    labels: PROCESS,
  },
  {
    alert: 'TempoReplayFails',
    series: { 'tempo_ingester_replay_errors_total{tenant="a"}': '1x90' },
    labels: { tenant: 'a' },
  },
  { alert: 'TempoFlushesFail', series: counter('tempo_ingester_failed_flushes_total'), labels: PROCESS },
  {
    alert: 'TempoFlushRetriesFail',
    series: counter('tempo_ingester_flush_failed_retries_total'),
    labels: PROCESS,
  },
  { alert: 'TempoQueriesSlow', series: histogram('tempo_query_frontend_queries', '25', '50') },
  {
    alert: 'TempoRequestsFail',
    series: {
      'tempo_request_duration_seconds_count{route="api_search",status_code="500"}': SLOWLY,
      'tempo_request_duration_seconds_count{route="api_search",status_code="200"}': '0+10x90',
    },
    labels: { route: 'api_search' },
  },
  {
    alert: 'TempoSourcesUnreadable',
    series: { 'tempo_querier_failed_sources_total{code="block_corrupt"}': SLOWLY },
    labels: { code: 'block_corrupt' },
  },
  {
    alert: 'TempoQueriesRefused',
    series: { 'tempo_query_frontend_discarded_requests_total{user="a"}': SLOWLY },
    labels: { user: 'a' },
  },
  {
    alert: 'TempoQueueLong',
    series: { [`tempodb_work_queue_length${BOTH}`]: '81x90', [`tempodb_work_queue_max${BOTH}`]: '100x90' },
    labels: PROCESS,
  },
  {
    alert: 'TempoPollsFail',
    series: { 'tempodb_blocklist_poll_errors_total{tenant="a"}': SLOWLY },
    labels: { tenant: 'a' },
  },
  {
    alert: 'TempoTenantIndexFails',
    series: { 'tempodb_blocklist_tenant_index_errors_total{tenant="a"}': SLOWLY },
    labels: { tenant: 'a' },
  },
  { alert: 'TempoCompactionFails', series: counter('tempodb_compaction_errors_total') },
  { alert: 'TempoRetentionFails', series: counter('tempodb_retention_errors_total'), labels: PROCESS },
  {
    alert: 'TempoMembersUnhealthy',
    series: { 'tempo_ring_members{name="ingester",state="Unhealthy"}': '1x90' },
    labels: { name: 'ingester' },
  },
  {
    alert: 'TempoOverridesNotLoaded',
    series: { 'tempo_runtime_config_last_reload_successful{config="overrides"}': STEADY },
    labels: { config: 'overrides' },
  },
  { alert: 'TempoThreadsEnd', series: counter('tempo_scan_thread_restarts_total'), labels: PROCESS },
  {
    alert: 'TempoMainThreadBusy',
    series: histogram('tempo_main_thread_event_loop_delay_seconds', '0.2', '0.5'),
    labels: { instance: 'a' },
  },
  {
    alert: 'TempoFilesRunOut',
    series: { [`process_open_fds${BOTH}`]: '81x90', [`process_max_fds${BOTH}`]: '100x90' },
    labels: PROCESS,
  },
];

export const GUIDE_CASES: readonly AlertCase[] = [
  {
    alert: 'TempoDistributorFailing',
    series: { tempo_distributor_push_errors_total: SLOWLY, tempo_distributor_push_total: '0+50x90' },
  },
  { alert: 'TempoIngesterFlushesFailing', series: { tempo_ingester_flush_failed_total: SLOWLY } },
  { alert: 'TempoCompactorFailing', series: { tempo_compactor_compaction_errors_total: SLOWLY } },
  { alert: 'TempoHighLatency', series: histogram('tempo_query_frontend_queries', '25', '50') },
];

/** What all of these show while nothing is wrong: no alert may be raised. */
export const HEALTHY: Readonly<Record<string, string>> = {
  tempo_distributor_push_errors_total: STEADY,
  tempo_distributor_push_total: GROWING,
  'tempo_discarded_spans_total{tenant="a",reason="rate_limited"}': STEADY,
  tempo_log_write_failures_total: STEADY,
  tempo_log_corrupt_frames_total: STEADY,
  'tempo_ingester_replay_errors_total{tenant="a"}': STEADY,
  tempo_ingester_failed_flushes_total: STEADY,
  tempo_ingester_flush_failed_total: STEADY,
  tempo_ingester_flush_failed_retries_total: STEADY,
  tempo_compactor_compaction_errors_total: STEADY,
  tempodb_compaction_errors_total: STEADY,
  ...histogram('tempo_query_frontend_queries', '0.25', '0.5'),
  'tempo_request_duration_seconds_count{route="api_search",status_code="200"}': GROWING,
  'tempo_request_duration_seconds_count{route="api_search",status_code="400"}': GROWING,
  'tempo_querier_failed_sources_total{code="block_corrupt"}': STEADY,
  'tempo_query_frontend_discarded_requests_total{user="a"}': STEADY,
  tempodb_work_queue_length: STEADY,
  tempodb_work_queue_max: '100x90',
  'tempodb_blocklist_poll_errors_total{tenant="a"}': STEADY,
  'tempodb_blocklist_tenant_index_errors_total{tenant="a"}': STEADY,
  tempodb_retention_errors_total: STEADY,
  'tempo_ring_members{name="ingester",state="Unhealthy"}': STEADY,
  'tempo_ring_members{name="ingester",state="ACTIVE"}': '1x90',
  'tempo_runtime_config_last_reload_successful{config="overrides"}': '1x90',
  tempo_scan_thread_restarts_total: STEADY,
  tempo_ingester_builder_restarts_total: STEADY,
  tempo_ingester_block_writer_restarts_total: STEADY,
  ...histogram('tempo_main_thread_event_loop_delay_seconds', '0.001', '0.002'),
  [`process_open_fds${BOTH}`]: '20x90',
  [`process_max_fds${BOTH}`]: '100x90',
};
