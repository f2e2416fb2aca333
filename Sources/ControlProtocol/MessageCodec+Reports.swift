import ExpertPlacement
import Foundation

// Nearly all that a coordinator gets are reports, and nearly all it sends are their acknowledgements. Foundation's coders take
// most of the time of such an exchange, so both have a way past them. What is not as programs write it goes the general way, to
// the same result or the same error.

extension IncomingRequest {
    /// A report of plain form, or several; nil: decode it.
    package init?(plainReport payload: Data, limits: Limits) {
        var json = PlainJSON(payload)
        var (type, run): (String?, String?)
        var (version, id, incarnation, rank, sequence): (Int?, Int?, Int?, Int?, Int?)
        var sample: PerformanceSample?
        var reports: [Reports.Item]?
        let isRead = json.object { key, json in
            switch key {
            case "type": json.string().fill(&type)
            case "version": json.integer().fill(&version)
            case "request_id": json.integer().fill(&id)
            case "run": json.string().fill(&run)
            case "incarnation": json.integer().fill(&incarnation)
            case "rank": json.integer().fill(&rank)
            case "sequence": json.integer().fill(&sequence)
            case "sample": PerformanceSample(plain: &json).fill(&sample)
            case "reports": json.array({ Reports.Item(plain: &$0) }).fill(&reports)
            default: false
            }
        }
        guard isRead, json.isAtEnd(), version == ControlProtocolVersion.current, let id, id <= limits.integer, let run,
            let incarnation, let rank
        else { return nil }
        requestID = id
        switch (type, sequence, sample, reports) {
        case (Report.type, let sequence?, let sample?, nil):
            let report = Report(run: run, incarnation: incarnation, rank: rank, sequence: sequence, sample: sample)
            request = Self.validated(report, limits).map { .report($0) }
        case (Reports.type, nil, nil, let reports?):
            let batch = Reports(run: run, incarnation: incarnation, rank: rank, reports: reports)
            request = Self.validated(batch, limits).map { .reports($0) }
        default: return nil
        }
    }

    private static func validated<Request: ControlRequest>(
        _ request: Request, _ limits: Limits
    ) -> Result<Request, ControlError> {
        Result { () throws(ControlError) in
            try request.validate(within: limits)
            return request
        }
    }
}

extension Reports.Item {
    fileprivate init?(plain json: inout PlainJSON) {
        var sequence: Int?
        var sample: PerformanceSample?
        let isRead = json.object { key, json in
            switch key {
            case "sequence": json.integer().fill(&sequence)
            case "sample": PerformanceSample(plain: &json).fill(&sample)
            default: false
            }
        }
        guard isRead, let sequence, let sample else { return nil }
        self.init(sequence: sequence, sample: sample)
    }
}

extension PerformanceSample {
    fileprivate init?(plain json: inout PlainJSON) {
        var (firstStep, stepCount, planRevision): (Int?, Int?, Int?)
        var (bytesSent, tokens, residentBytes, expertRows, expertWork): (Int?, Int?, Int?, Int?, Int?)
        var (stepSeconds, loss): (Double?, Double?)
        var phases: [String: Double]?
        var loads: [[Int]]?
        var dropped: [Int]?
        let isRead = json.object { key, json in
            switch key {
            case "first_step": json.integer().fill(&firstStep)
            case "step_count": json.integer().fill(&stepCount)
            case "plan_revision": json.integer().fill(&planRevision)
            case "step_seconds": json.number().fill(&stepSeconds)
            case "phase_seconds": json.numbers().fill(&phases)
            case "bytes_sent": json.integer().fill(&bytesSent)
            case "tokens": json.integer().fill(&tokens)
            case "resident_bytes": json.integer().fill(&residentBytes)
            case "expert_loads": json.array({ json in json.array { $0.integer() } }).fill(&loads)
            case "dropped_tokens": json.array({ $0.integer() }).fill(&dropped)
            case "loss": json.number().fill(&loss)
            case "expert_rows": json.integer().fill(&expertRows)
            case "expert_work": json.integer().fill(&expertWork)
            default: false
            }
        }
        guard isRead, let firstStep, let stepCount, let planRevision, let stepSeconds, let phases, let bytesSent,
            let tokens, let residentBytes
        else { return nil }
        self.init(
            firstStep: firstStep, stepCount: stepCount, planRevision: planRevision, stepSeconds: stepSeconds,
            phaseSeconds: phases, bytesSent: bytesSent, tokens: tokens, residentBytes: residentBytes,
            expertLoads: loads, droppedTokens: dropped, loss: loss, expertRows: expertRows, expertWork: expertWork)
    }
}

extension PlainJSON {
    /// An object of numbers under different names.
    fileprivate mutating func numbers() -> [String: Double]? {
        // As many as a worker has phases.
        var numbers = [String: Double](minimumCapacity: 12)
        let isRead = object { name, json in
            json.number().map { numbers.updateValue($0, forKey: name) == nil } ?? false
        }
        return isRead ? numbers : nil
    }
}

extension Optional {
    /// Puts a value that was read into its place.
    /// - Returns: false when there is none, or the place has one already.
    fileprivate func fill(_ place: inout Wrapped?) -> Bool {
        guard place == nil, let self else { return false }
        place = self
        return true
    }
}

extension MessageCodec {
    /// The frame of an acknowledgement, as `frame(_:requestID:limits:)` writes it.
    package static func frame(_ message: Acknowledged, requestID: Int?) -> Data {
        let id = requestID.map { "\"request_id\":\($0)," } ?? ""
        let sequence = message.sequence.map { "\"sequence\":\($0)," } ?? ""
        let payload =
            "{\(id)\(sequence)\"type\":\"\(Acknowledged.type)\",\"version\":\(ControlProtocolVersion.current)}"
        return Frame.frame(payload.utf8, length: UInt32(payload.utf8.count))
    }
}
