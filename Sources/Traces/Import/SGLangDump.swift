/// What SGLang's expert distribution recorder dumps (sgl-project/sglang, `srt/eplb/expert_distribution.py`).
///
/// In the modes `stat` and `stat_approx` one file has `logical_count`, [pass][layer][expert], summed over the ranks. In the
/// mode `per_pass` each rank writes a file with `records` of one pass each, which have `global_physical_count`,
/// [layer][physical expert], and with `last_physical_to_logical_map`. The JSON form, which `--init-expert-location` takes,
/// has the same keys.
enum SGLangDump {
    private static let remedy =
        "record with --expert-distribution-recorder-mode stat or per_pass, and dump with /dump_expert_distribution_record"

    /// - Parameter note: is told what cannot be known of the files.
    static func read(
        _ files: [String], steps: Int, note: (String) -> Void, into sink: inout TraceSink
    ) throws(TraceError) {
        var passes = PassSums(steps: steps)
        var records = [Int: [[Double]]]()
        for path in files {
            let dump = try DumpValue.read(path)
            if let counts = dump["logical_count"]?.tensor {
                guard counts.shape.count >= 2 else {
                    throw TraceError(path, "logical_count has no layers", remedy: remedy)
                }
                if counts.shape.count == 2 {
                    try sink.add(counts.matrix(0), place: "logical_count")
                    continue
                }
                let order = recorded(counts)
                if order.count == counts.matrixCount, order.count > 1 {
                    note(
                        "\(path): all \(order.count) places of the buffer are taken, so that older passes may be gone and the "
                            + "first need not be the oldest, unless --expert-distribution-recorder-buffer-size was -1")
                }
                if let first = order.first, first > order.last ?? 0 {
                    note(
                        "\(path): place \(first) of the buffer is taken for the oldest pass, since places before it are empty, "
                            + "unless --expert-distribution-recorder-buffer-size was -1: passes without tokens leave such places, "
                            + "too")
                }
                for pass in order {
                    try add(counts.matrix(pass), path: path, place: "pass \(pass)", to: &passes, &sink)
                }
            } else if case .list(let list)? = dump["records"] {
                try collect(list, map: dump["last_physical_to_logical_map"], path: path, into: &records)
            } else {
                throw TraceError(path, "there is neither logical_count nor records in it", remedy: remedy)
            }
        }
        for (pass, loads) in records.sorted(by: { $0.key < $1.key }) {
            try add(loads, path: files[0], place: "forward pass \(pass)", to: &passes, &sink)
        }
        if let (loads, count) = passes.rest { try sink.add(loads, place: "the last passes", stepCount: count) }
    }

    /// The passes of a ring, oldest first, without places that no pass has been to. A recording goes on where the one before it
    /// ended, so that these may lie in the middle: the oldest pass is the one after them.
    private static func recorded(_ counts: DumpedTensor) -> [Int] {
        let count = counts.matrixCount
        let isEmpty = (0..<count).map { counts.matrix($0).allSatisfy { $0.allSatisfy { $0 == 0 } } }
        // Some passes have no token, either; what was never used is the longest run of places, around the end if need be.
        var (run, longest, first) = (0, 0, 0)
        for place in 0..<2 * count {
            run = isEmpty[place % count] ? run + 1 : 0
            if run >= longest, run > 0 { (longest, first) = (run, (place + 1) % count) }
        }
        return (0..<count).map { ($0 + first) % count }.filter { !isEmpty[$0] }
    }

    private static func add(
        _ loads: [[Double]], path: String, place: String, to passes: inout PassSums, _ sink: inout TraceSink
    ) throws(TraceError) {
        if let interval = try passes.add(loads, path: path, place: place) { try sink.add(interval, place: place) }
    }

    /// Adds a rank's records to those of other ranks of the same passes.
    private static func collect(
        _ list: [DumpValue], map: DumpValue?, path: String, into records: inout [Int: [[Double]]]
    ) throws(TraceError) {
        guard let map = map?.tensor else {
            throw TraceError(path, "last_physical_to_logical_map is missing", remedy: remedy)
        }
        let physical = try PhysicalLoads(map, path: path)
        for (index, record) in list.enumerated() {
            guard case .number(let number)? = record["forward_pass_id"], let pass = Int(exactly: number),
                let counts = record["global_physical_count"]?.tensor, counts.shape.count == 2
            else {
                throw TraceError(
                    path, "record \(index) has no forward_pass_id and global_physical_count", remedy: remedy)
            }
            let loads = try physical.logical(counts.matrix(0), path: path, place: "record \(index)")
            if let others = records[pass], others.map(\.count) == loads.map(\.count) {
                records[pass] = zip(others, loads).map { zip($0, $1).map { $0 + $1 } }
            } else if records[pass] == nil {
                records[pass] = loads
            } else {
                throw TraceError(path, "record \(index) is of another model than other files", remedy: remedy)
            }
        }
    }
}
