import Layers

/// A group of experts in a module tree.
struct ExpertGroupMatch {
    let path: String
    let parent: any Module
    let name: String
    let group: any ExpertGroup
}

/// The groups whose paths match one of the patterns, in the order of the tree. Each pattern matches at least one.
func expertGroups(in model: any Module, matching patterns: [String]) throws -> [ExpertGroupMatch] {
    let expressions = try patterns.map { pattern in
        do {
            return try Regex(pattern)
        } catch {
            throw ParallelizationError.invalidPattern(pattern, reason: "\(error)")
        }
    }
    var matches = [ExpertGroupMatch]()
    var unused = Set(patterns.indices)
    for (parentPath, parent) in model.namedModules() {
        for (name, module) in parent.children {
            let path = join(parentPath, name)
            let matching = try expressions.indices.filter { try expressions[$0].wholeMatch(in: path) != nil }
            if matching.isEmpty { continue }
            unused.subtract(matching)
            guard let group = module as? any ExpertGroup else {
                throw ParallelizationError.notExperts(
                    path: path, type: "\(type(of: module))", groups: groupPaths(in: model))
            }
            matches.append(ExpertGroupMatch(path: path, parent: parent, name: name, group: group))
        }
    }
    guard !matches.isEmpty, unused.isEmpty else {
        throw ParallelizationError.noMatch(
            patterns: unused.sorted().map { patterns[$0] }, groups: groupPaths(in: model))
    }
    return matches
}

private func groupPaths(in model: any Module) -> [String] {
    model.namedModules().filter { $0.module is any ExpertGroup }.map(\.path)
}

/// Checks that the groups are what the configuration says.
func check(_ matches: [ExpertGroupMatch], _ configuration: ParallelConfiguration) throws {
    guard matches.count == configuration.layers else {
        throw ParallelizationError.layerCount(expected: configuration.layers, found: matches.map(\.path))
    }
    if case .perLayer(let counts) = configuration.expertsPerLayer, counts.count != matches.count {
        throw ParallelizationError.expertCounts(counts, found: matches.map(\.path))
    }
    for (layer, match) in matches.enumerated() {
        let expected = configuration.expertCount(ofLayer: layer)
        guard expected == match.group.expertCount else {
            throw ParallelizationError.expertCount(
                path: match.path, expected: expected, found: match.group.expertCount)
        }
        guard match.group.hiddenSize == matches[0].group.hiddenSize else {
            throw ParallelizationError.hiddenSize(
                path: match.path, expected: matches[0].group.hiddenSize, found: match.group.hiddenSize)
        }
    }
}
