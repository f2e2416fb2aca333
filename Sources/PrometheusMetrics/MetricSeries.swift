import CoreMetrics
import Synchronization

/// The values of a metric under one set of labels. What they mean the metric's kind says.
final class MetricSeries: Sendable {
    struct Values: Sendable {
        /// Of a counter or gauge; of a histogram, the sum of what was observed.
        var value = 0.0
        /// How often in each bucket, the last of which is for all that is above the others.
        var buckets: [Int]
    }

    let name: String
    /// As they stand between braces.
    let labels: String
    /// Of a histogram; nil: it is none.
    private let bounds: [Double]?
    private let state: Mutex<Values>

    init(name: String, labels: String, kind: MetricDescription.Kind?) {
        self.name = name
        self.labels = labels
        if case .histogram(let bounds) = kind { self.bounds = bounds } else { bounds = nil }
        state = Mutex(Values(buckets: [Int](repeating: 0, count: bounds.map { $0.count + 1 } ?? 0)))
    }

    var values: Values { state.withLock(\.self) }

    private func add(_ amount: Double) {
        state.withLock { $0.value += amount }
    }

    private func observe(_ value: Double) {
        guard let bounds else { return state.withLock { $0.value = value } }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock {
            $0.value += value
            $0.buckets[bucket] += 1
        }
    }
}

// swift-metrics has a protocol for each way to change a metric.
extension MetricSeries: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler {
    func increment(by amount: Int64) { add(Double(amount)) }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { state.withLock { $0.value = value } }
    func record(_ value: Int64) { observe(Double(value)) }
    func record(_ value: Double) { observe(value) }
    func recordNanoseconds(_ duration: Int64) { observe(Double(duration) / 1e9) }
    func reset() { state.withLock { $0 = Values(buckets: [Int](repeating: 0, count: $0.buckets.count)) } }
}
