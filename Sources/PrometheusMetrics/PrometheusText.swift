/// Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
public enum PrometheusText {
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions.sorted { $0.0 < $1.0 }.map { "\($0.0)=\"\(escaped($0.1))\"" }.joined(separator: ",")
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"": result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
    }
}

extension PrometheusRegistry {
    /// All series there are now.
    public var text: String {
        var text = ""
        for description in descriptions {
            let series = series(of: description.name)
            if series.isEmpty { continue }
            let (name, type) = (description.name, description.kind.name)
            text += "# HELP \(name) \(description.help)\n# TYPE \(name) \(type)\n"
            for series in series { append(series, description.kind, to: &text) }
        }
        return text
    }

    private func append(_ series: MetricSeries, _ kind: MetricDescription.Kind, to text: inout String) {
        func line(_ suffix: String, _ labels: [String], _ value: String) {
            let labels = labels.filter { !$0.isEmpty }.joined(separator: ",")
            text += "\(series.name)\(suffix)\(labels.isEmpty ? "" : "{\(labels)}") \(value)\n"
        }
        let values = series.values
        guard case .histogram(let bounds) = kind else {
            return line("", [series.labels], PrometheusText.number(values.value))
        }
        var count = 0
        for (bound, observed) in zip(bounds + [.infinity], values.buckets) {
            count += observed
            line("_bucket", [series.labels, "le=\"\(PrometheusText.number(bound))\""], "\(count)")
        }
        line("_sum", [series.labels], PrometheusText.number(values.value))
        line("_count", [series.labels], "\(count)")
    }
}

extension MetricDescription.Kind {
    fileprivate var name: String {
        switch self {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        }
    }
}
