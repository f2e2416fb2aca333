import CoreMetrics
import Synchronization

/// Metrics of swift-metrics, as Prometheus reads them.
///
/// Only metrics that were described are told of, and of each only so many series: what is beyond counts for nothing.
public final class PrometheusRegistry: MetricsFactory {
    private struct State {
        /// By name, then by labels.
        var series: [String: [String: MetricSeries]] = [:]
    }

    let descriptions: [MetricDescription]
    private let kinds: [String: MetricDescription.Kind]
    private let seriesLimit: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - descriptions: in the order in which they are told of; no name twice.
    ///   - seriesLimit: series of a metric.
    public init(_ descriptions: [MetricDescription], seriesLimit: Int = 10_000) {
        self.descriptions = descriptions
        kinds = Dictionary(descriptions.map { ($0.name, $0.kind) }, uniquingKeysWith: { first, _ in first })
        self.seriesLimit = seriesLimit
    }

    /// The series of a metric, by their labels.
    func series(of name: String) -> [MetricSeries] {
        state.withLock { $0.series[name, default: [:]] }.values.sorted { $0.labels < $1.labels }
    }

    private func make(_ name: String, _ dimensions: [(String, String)]) -> MetricSeries {
        let labels = PrometheusText.labels(dimensions)
        let series = MetricSeries(name: name, labels: labels, kind: kinds[name])
        guard kinds[name] != nil else { return series }
        return state.withLock { state in
            if let known = state.series[name]?[labels] { return known }
            if state.series[name, default: [:]].count < seriesLimit {
                state.series[name, default: [:]][labels] = series
            }
            return series
        }
    }

    private func destroy(_ handler: AnyObject) {
        guard let series = handler as? MetricSeries else { return }
        state.withLock { state in
            // It may have been destroyed, and made anew, before.
            if state.series[series.name]?[series.labels] === series { state.series[series.name]?[series.labels] = nil }
        }
    }

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        make(label, dimensions)
    }
    public func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler { make(label, dimensions) }
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { make(label, dimensions) }
    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler { make(label, dimensions) }
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { make(label, dimensions) }

    public func destroyCounter(_ handler: any CounterHandler) { destroy(handler) }
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { destroy(handler) }
    public func destroyMeter(_ handler: any MeterHandler) { destroy(handler) }
    public func destroyRecorder(_ handler: any RecorderHandler) { destroy(handler) }
    public func destroyTimer(_ handler: any TimerHandler) { destroy(handler) }
}
