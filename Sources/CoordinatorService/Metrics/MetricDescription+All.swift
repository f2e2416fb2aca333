import PrometheusMetrics

extension MetricDescription {
    /// All that `/metrics` tells of.
    static let all = coordinator + runs

    private static let latencies = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    private static let planningTimes = [0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300]

    private static let coordinator = [
        MetricDescription("moe_coordinator_build_info", .gauge, "1; version and commit of the coordinator."),
        MetricDescription("moe_coordinator_start_time_seconds", .gauge, "When it started, since 1970."),
        MetricDescription(
            "moe_coordinator_check_failed", .gauge, "1: a check of /readyz fails; 0: all is well."),
        MetricDescription("moe_coordinator_connections", .gauge, "Open connections of the control protocol."),
        MetricDescription("moe_coordinator_http_connections", .gauge, "Open connections of HTTP, but for streams."),
        MetricDescription("moe_coordinator_http_streams", .gauge, "Open streams of news."),
        MetricDescription("moe_coordinator_requests_total", .counter, "Requests by type."),
        MetricDescription("moe_coordinator_refusals_total", .counter, "Refusals over the control protocol by code."),
        MetricDescription("moe_coordinator_http_answers_total", .counter, "Answers over HTTP by status."),
        MetricDescription(
            "moe_coordinator_commit_seconds", .histogram(bounds: latencies),
            "Seconds that a transaction took until it was on the disk."),
        MetricDescription("moe_coordinator_committed_changes_total", .counter, "Changes in these transactions."),
        MetricDescription(
            "moe_coordinator_failed_commits_total", .counter, "Transactions that the database did not take."),
        MetricDescription("moe_coordinator_queued_changes", .gauge, "Changes that wait for a transaction."),
        MetricDescription(
            "moe_coordinator_shed_reports_total", .counter, "Reports that were refused because too many waited."),
        MetricDescription(
            "moe_coordinator_unplanned_reports_total", .counter,
            "Reports that planning left out because it was too slow."),
        MetricDescription(
            "moe_coordinator_planning_seconds", .histogram(bounds: planningTimes),
            "Seconds of a look at a run's placement after reports."),
        MetricDescription("moe_coordinator_database_bytes", .gauge, "Bytes of the database and its log."),
        MetricDescription("moe_coordinator_free_disk_bytes", .gauge, "Bytes that are free where the database is."),
        MetricDescription("moe_coordinator_running_runs", .gauge, "Runs that have not ended, as far as is known."),
    ]

    private static let runs = [
        MetricDescription("moe_run_state", .gauge, "1 for the state that the run is in, 0 for the others."),
        MetricDescription("moe_run_step", .gauge, "Last step reported."),
        MetricDescription("moe_run_loss", .gauge, "Last loss reported."),
        MetricDescription(
            "moe_run_last_report_timestamp_seconds", .gauge,
            "When the last report came, or the ranks registered, since 1970."),
        MetricDescription(
            "moe_run_oldest_report_timestamp_seconds", .gauge,
            "When the rank that has been silent for longest reported or registered, since 1970."),
        MetricDescription("moe_run_reports_total", .counter, "Reports."),
        MetricDescription("moe_run_plan_revision", .gauge, "Revision of the active plan."),
        MetricDescription("moe_run_world_size", .gauge, "Ranks of the run."),
        MetricDescription("moe_run_reported_ranks", .gauge, "Ranks that have reported the steps that this tells of."),
        MetricDescription("moe_run_tokens_per_second", .gauge, "Tokens a second of all ranks."),
        MetricDescription("moe_run_step_seconds", .gauge, "Seconds of a step on the slowest rank."),
        MetricDescription(
            "moe_run_phase_seconds", .gauge, "Seconds of a step by phase, mean of the ranks."),
        MetricDescription(
            "moe_run_slowest_phase_seconds", .gauge, "Seconds of a step by phase, on the slowest rank."),
        MetricDescription(
            "moe_run_balance_ratio", .gauge, "Mean over largest of the ranks' seconds in the experts; 1 is even."),
        MetricDescription(
            "moe_run_load_balance_ratio", .gauge, "Mean over largest load of an expert, mean of the layers; 1 is even."),
        MetricDescription(
            "moe_run_dropped_ratio", .gauge,
            "Of the (token, expert) pairs, those that found no place; only where experts have a capacity."),
        MetricDescription("moe_run_migration_bytes_total", .counter, "Bytes that plans moved."),
        MetricDescription("moe_run_migration_seconds_total", .counter, "Seconds that moving them took."),
    ]
}
