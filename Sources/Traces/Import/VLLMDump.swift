/// What is saved of vLLM's expert-parallel load balancer (vllm-project/vllm, `distributed/eplb/eplb_state.py`), which has no
/// dump of its own: a dictionary with the fields of its state, by their names there.
///
/// `expert_load_window` is [pass][layer][physical expert], a ring whose next place is `expert_load_window_step`;
/// `expert_load_pass` is [layer][physical expert] of one pass; `global_expert_load_window` is
/// [layer][expert] summed over window and ranks. `physical_to_logical_map` makes experts of physical ones; without it they
/// count as experts. A tensor by itself is taken for loads of experts. Each rank counts its own tokens alone, so that files of
/// all ranks are added up, pass by pass.
enum VLLMDump {
    private static let remedy =
        "torch.save a dictionary with expert_load_window and physical_to_logical_map of vLLM's EPLB state"

    private static let names = ["expert_load_window", "expert_load_pass", "global_expert_load_window"]

    static func read(_ files: [String], steps: Int, into sink: inout TraceSink) throws(TraceError) {
        var window = [[[Double]]]()
        for path in files {
            let dump = try DumpValue.read(path)
            let loads = try loads(of: dump, path: path)
            let isOfOneRank = names.prefix(2).contains { dump[$0]?.tensor != nil }
            guard files.count == 1 || isOfOneRank else {
                throw TraceError(
                    path, "its loads are not of one rank, and several files are added up",
                    remedy: "name this file alone, or files with expert_load_window")
            }
            if !isOfOneRank, loads.shape.count == 2 { return try sink.add(loads.matrix(0), place: "the loads") }
            let own = try passes(loads, of: dump, path: path, isLogical: !isOfOneRank)
            if window.isEmpty {
                window = own
            } else {
                guard window.map({ $0.map(\.count) }) == own.map({ $0.map(\.count) }) else {
                    throw TraceError(
                        path,
                        "its \(own.count) passes are of another number or shape than the \(window.count) of \(files[0])",
                        remedy: "save all ranks after the same pass")
                }
                for pass in own.indices {
                    window[pass] = zip(window[pass], own[pass]).map { zip($0, $1).map { $0 + $1 } }
                }
            }
        }
        var sums = PassSums(steps: steps)
        for (number, matrix) in window.enumerated() {
            // Passes that the window has not seen yet.
            if matrix.allSatisfy({ $0.allSatisfy { $0 == 0 } }) { continue }
            if let interval = try sums.add(matrix, path: files[0], place: "pass \(number)") {
                try sink.add(interval, place: "pass \(number)")
            }
        }
        if let (loads, count) = sums.rest { try sink.add(loads, place: "the last passes", stepCount: count) }
    }

    private static func loads(of dump: DumpValue, path: String) throws(TraceError) -> DumpedTensor {
        guard let loads = dump.tensor ?? names.lazy.compactMap({ dump[$0]?.tensor }).first, loads.shape.count >= 2
        else {
            throw TraceError(path, "there is no \(names.joined(separator: ", ")) in it", remedy: remedy)
        }
        return loads
    }

    /// Loads of the experts in each pass, oldest first.
    private static func passes(
        _ loads: DumpedTensor, of dump: DumpValue, path: String, isLogical: Bool
    ) throws(TraceError) -> [[[Double]]] {
        let map = isLogical ? nil : dump["physical_to_logical_map"]?.tensor
        let physical = try map.map { map throws(TraceError) in try PhysicalLoads(map, path: path) }
        var passes = [[[Double]]]()
        for pass in order(loads.matrixCount, next: dump["expert_load_window_step"]) {
            var matrix = loads.matrix(pass)
            if let physical { matrix = try physical.logical(matrix, path: path, place: "pass \(pass)") }
            passes.append(matrix)
        }
        return passes
    }

    /// The passes of a ring, oldest first.
    private static func order(_ count: Int, next: DumpValue?) -> [Int] {
        guard case .number(let number)? = next, let next = Int(exactly: number), (0..<count).contains(next) else {
            return Array(0..<count)
        }
        return Array(next..<count) + Array(0..<next)
    }
}
