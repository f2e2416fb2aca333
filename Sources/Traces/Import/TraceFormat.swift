import ExpertPlacement

/// A form of files with loads that others write.
public enum TraceFormat: String, Sendable, CaseIterable {
    /// What DeepSeek's EPLB takes: a JSON matrix [layer][expert] of loads, or a list of them.
    case eplb
    /// JSON Lines `{"iteration": 1, "loads": [layer][expert]}`.
    case lines
    /// A dump of vLLM's load balancer: tensors in a .pt or JSON file.
    case vllm
    /// A dump of SGLang's expert distribution recorder: .pt files, or JSON.
    case sglang
}

/// How files of loads become a trace.
public struct TraceImport: Sendable {
    public var format: TraceFormat
    /// Steps that a matrix is the sum of; of dumps with a matrix for each pass, passes that make an interval.
    public var steps: Int
    /// Loads are multiplied by it before they are rounded.
    public var scale: Double
    /// F of every expert, and D, which no such file tells.
    public var width: Int
    public var hiddenSize: Int

    public init(format: TraceFormat, steps: Int = 1, scale: Double = 1, width: Int, hiddenSize: Int) {
        self.format = format
        self.steps = steps
        self.scale = scale
        self.width = width
        self.hiddenSize = hiddenSize
    }

    /// Reads `files` and writes a trace.
    /// - Parameter note: is told what the files leave open.
    /// - Returns: its first line, and how many intervals it has.
    /// - Throws: `TraceError`; then there is no trace.
    public func run(
        files: [String], output: String, note: (String) -> Void = { _ in }
    ) throws(TraceError) -> (header: TraceHeader, intervals: Int) {
        guard let first = files.first else {
            throw TraceError(output, "there is nothing to import", remedy: "name a file")
        }
        guard files.count == 1 || format == .sglang || format == .vllm else {
            throw TraceError(
                files[1], "several files make one trace only where ranks wrote them, with sglang and vllm",
                remedy: "import each by itself")
        }
        var sink = TraceSink(self, file: first, output: output)
        switch format {
        case .eplb: try LoadMatrices.read(first, into: &sink)
        case .lines: try IterationLines.read(first, into: &sink)
        case .vllm: try VLLMDump.read(files, steps: steps, into: &sink)
        case .sglang: try SGLangDump.read(files, steps: steps, note: note, into: &sink)
        }
        return try sink.finish()
    }
}

/// Takes matrices of loads and writes them as intervals; the first says what the model is.
struct TraceSink {
    private let options: TraceImport
    private let file: String
    private let output: String
    private var writer: TraceWriter?
    private var header: TraceHeader?
    private var step = 1

    init(_ options: TraceImport, file: String, output: String) {
        self.options = options
        self.file = file
        self.output = output
    }

    private static let mostRows = 9.0e15

    /// - Parameters:
    ///   - place: of the matrix in the file, for errors.
    ///   - line: of the file.
    ///   - firstStep: nil: those after the interval before.
    mutating func add(
        _ loads: [[Double]], place: String, line: Int? = nil, firstStep: Int? = nil, stepCount: Int? = nil
    ) throws(TraceError) {
        var rows = [[Int]]()
        for (layer, loads) in loads.enumerated() {
            guard let invalid = loads.first(where: { !($0 >= 0 && $0 * options.scale <= Self.mostRows) }) else {
                rows.append(loads.map { Int(($0 * options.scale).rounded()) })
                guard rows[layer].contains(where: { $0 > 0 }) || loads.allSatisfy({ $0 == 0 }) else {
                    throw TraceError(
                        file, line: line, "\(place): all loads of layer \(layer) are below half a row",
                        remedy: "give a --scale that makes rows of them")
                }
                continue
            }
            throw TraceError(
                file, line: line, "\(place): the load \(invalid) in layer \(layer) is no number of rows",
                remedy: "loads are finite and not negative")
        }
        if let firstStep, writer != nil, firstStep < step {
            throw TraceError(
                file, line: line,
                "\(place): iteration \(firstStep) is not past the steps of the matrix before, up to \(step - 1)",
                remedy: "sort the iterations, and give --steps as many as lie between two of them, or fewer")
        }
        let count = stepCount ?? options.steps
        let interval = TraceInterval(firstStep: firstStep ?? step, stepCount: count, expertLoads: rows)
        try write(interval, place: place, line: line)
        // Neither is larger than it may be: that was checked.
        step = interval.firstStep + count
    }

    private mutating func write(_ interval: TraceInterval, place: String, line: Int?) throws(TraceError) {
        do {
            let header =
                header
                ?? TraceHeader(
                    source: options.format.rawValue,
                    model: ExpertModel(
                        hiddenSize: options.hiddenSize,
                        layers: interval.expertLoads.map { $0.map { _ in options.width } }))
            try TraceCheck.check(header)
            try TraceCheck.check(interval, of: header.model)
            if writer == nil { writer = try TraceWriter(path: output, header: header) }
            self.header = header
        } catch let error as TraceError {
            throw error
        } catch {
            throw TraceError(
                file, line: line, "\(place): \(error)", remedy: "give matrices [layer][expert] of one model")
        }
        try writer?.write(.interval(interval))
    }

    func finish() throws(TraceError) -> (header: TraceHeader, intervals: Int) {
        guard let header, let intervals = writer?.intervals else {
            throw TraceError(file, "there are no loads in it", remedy: "is it the right file?")
        }
        try writer?.finish()
        return (header, intervals)
    }
}
