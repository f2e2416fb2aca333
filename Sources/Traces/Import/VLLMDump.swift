/// What is saved of vLLM's expert-parallel load balancer (vllm-project/vllm, `distributed/eplb/eplb_state.py`), which has no
/// dump of its own: a dictionary with the fields of its state, by their names there.
///
/// `expert_load_window` is [pass][layer][physical expert], a ring whose next place is `expert_load_window_step`;
/// `expert_load_pass` is [layer][physical expert] of one pass; `global_expert_load_window` is
/// [layer][expert] summed over window and ranks. `physical_to_logical_map` makes experts of physical ones; without it they
/// count as experts. A tensor by itself is taken for loads of experts.
enum VLLMDump {
    private static let remedy =
        "torch.save a dictionary with expert_load_window and physical_to_logical_map of vLLM's EPLB state"

    static func read(_ path: String, steps: Int, into sink: inout TraceSink) throws(TraceError) {
        let dump = try DumpValue.read(path)
        let names = ["expert_load_window", "expert_load_pass", "global_expert_load_window"]
        guard let loads = dump.tensor ?? names.lazy.compactMap({ dump[$0]?.tensor }).first, loads.shape.count >= 2
        else {
            throw TraceError(path, "there is no \(names.joined(separator: ", ")) in it", remedy: remedy)
        }
        let isLogical = names.prefix(2).allSatisfy { dump[$0]?.tensor == nil }
        if isLogical, loads.shape.count == 2 { return try sink.add(loads.matrix(0), place: "the loads") }
        let map = isLogical ? nil : dump["physical_to_logical_map"]?.tensor
        let physical = try map.map { map throws(TraceError) in try PhysicalLoads(map, path: path) }
        var passes = PassSums(steps: steps)
        for pass in order(loads.matrixCount, next: dump["expert_load_window_step"]) {
            var matrix = loads.matrix(pass)
            // Passes that the window has not seen yet.
            if matrix.allSatisfy({ $0.allSatisfy { $0 == 0 } }) { continue }
            if let physical { matrix = try physical.logical(matrix, path: path, place: "pass \(pass)") }
            if let interval = try passes.add(matrix, path: path, place: "pass \(pass)") {
                try sink.add(interval, place: "pass \(pass)")
            }
        }
        if let (loads, count) = passes.rest { try sink.add(loads, place: "the last passes", stepCount: count) }
    }

    /// The passes of a ring, oldest first.
    private static func order(_ count: Int, next: DumpValue?) -> [Int] {
        guard case .number(let number)? = next, let next = Int(exactly: number), (0..<count).contains(next) else {
            return Array(0..<count)
        }
        return Array(next..<count) + Array(0..<next)
    }
}
