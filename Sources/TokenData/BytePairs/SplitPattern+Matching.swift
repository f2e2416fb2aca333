extension SplitPattern {
    /// How many steps of matching a text may take for each byte that has been looked at, and before any: with known tokenizers no
    /// text takes more than 14 a byte. With expressions such as `(?:\p{L}+)+[0-9]` and `\p{L}+[0-9]` backtracking takes
    /// exponentially many, or the square of the length.
    private static let stepsPerByte = 1000
    private static let firstSteps = 1 << 14

    /// Calls `body` with the pieces of `text` from left to right: matches, and what is between them.
    /// - Parameter text: valid UTF-8.
    /// - Throws: `TokenDataError.tooManySteps`, and what `body` throws.
    func forEachPiece(
        in text: UnsafeBufferPointer<UInt8>,
        _ body: (_ piece: Range<Int>, _ isMatch: Bool) throws(TokenDataError) -> Void
    ) throws(TokenDataError) {
        try instructions.withUnsafeBufferPointer { (instructions) throws(TokenDataError) in
            try classes.withUnsafeBufferPointer { (classes) throws(TokenDataError) in
                try members.withUnsafeBufferPointer { (members) throws(TokenDataError) in
                    var machine = Machine(text: text, instructions: instructions, classes: classes, members: members)
                    try forEachPiece(of: &machine, body)
                }
            }
        }
    }

    private func forEachPiece(
        of machine: inout Machine, _ body: (_ piece: Range<Int>, _ isMatch: Bool) throws(TokenDataError) -> Void
    ) throws(TokenDataError) {
        let text = machine.text
        var (pieceStart, position) = (0, 0)
        while position < text.count {
            var candidates = branchesByByte[Int(text[position])]
            var end: Int?
            machine.look(upTo: position)
            while candidates != 0, end == nil {
                end = machine.match(branches[candidates.trailingZeroBitCount], at: position)
                candidates &= candidates - 1
            }
            guard machine.stepsLeft > 0 else {
                throw .tooManySteps(expression: expression, stepsPerByte: Self.stepsPerByte)
            }
            if let end {
                if pieceStart < position { try body(pieceStart..<position, false) }
                try body(position..<end, true)
                position = end
                pieceStart = end
            } else {
                position += machine.scalar(at: position).length
            }
        }
        if pieceStart < position { try body(pieceStart..<position, false) }
    }

    /// Runs the instructions over one text.
    private struct Machine {
        let text: UnsafeBufferPointer<UInt8>
        let instructions: UnsafeBufferPointer<Instruction>
        let classes: UnsafeBufferPointer<UInt8>
        let members: UnsafeBufferPointer<UInt64>
        /// What is tried when the way that is tried now fails.
        private var alternatives: [Alternative] = []
        /// How many steps the text may still take; when there are none, nothing matches any more.
        private(set) var stepsLeft = SplitPattern.firstSteps
        /// The end of what has been looked at.
        private var furthest = 0

        private struct Alternative: BitwiseCopyable {
            let instruction: Int
            var position: Int
            /// A run may give back down to here; equal to `position` for other alternatives.
            let floor: Int
        }

        init(
            text: UnsafeBufferPointer<UInt8>, instructions: UnsafeBufferPointer<Instruction>,
            classes: UnsafeBufferPointer<UInt8>, members: UnsafeBufferPointer<UInt64>
        ) {
            self.text = text
            self.instructions = instructions
            self.classes = classes
            self.members = members
        }

        @inline(__always)
        func scalar(at position: Int) -> (value: Int, length: Int) {
            let lead = text[position]
            if lead < 0x80 { return (Int(lead), 1) }
            func bits(_ offset: Int) -> Int { Int(text[position + offset] & 0x3F) }
            if lead < 0xE0 { return (Int(lead & 0x1F) << 6 | bits(1), 2) }
            if lead < 0xF0 { return (Int(lead & 0x0F) << 12 | bits(1) << 6 | bits(2), 3) }
            return (Int(lead & 0x07) << 18 | bits(1) << 12 | bits(2) << 6 | bits(3), 4)
        }

        /// The length of the scalar when it is in the set, 0 when not.
        @inline(__always)
        private func length(inSet set: Int, at position: Int) -> Int {
            guard position < text.count else { return 0 }
            let (value, length) = scalar(at: position)
            return members[Int(classes[value])] >> UInt64(set) & 1 != 0 ? length : 0
        }

        /// Text that is looked at for the first time allows more steps.
        @inline(__always)
        mutating func look(upTo position: Int) {
            guard position > furthest else { return }
            stepsLeft += SplitPattern.stepsPerByte * (position - furthest)
            furthest = position
        }

        /// Where a match that begins at `start` ends.
        mutating func match(_ first: Int, at start: Int) -> Int? {
            let base = alternatives.count
            var (instruction, position) = (first, start)
            while true {
                guard stepsLeft > 0 else {
                    alternatives.removeLast(alternatives.count - base)
                    return nil
                }
                stepsLeft -= 1
                var hasFailed = false
                switch instructions[instruction] {
                case .one(let set):
                    let length = length(inSet: set, at: position)
                    hasFailed = length == 0
                    position += length
                    instruction += 1
                case .run(let set, let minimum, let maximum, let givesBack):
                    var (count, floor) = (0, position)
                    while count < maximum, case let length = length(inSet: set, at: position), length > 0 {
                        position += length
                        count += 1
                        if count == minimum { floor = position }
                    }
                    stepsLeft -= count
                    hasFailed = count < minimum
                    instruction += 1
                    if givesBack, !hasFailed, position > floor {
                        alternatives.append(Alternative(instruction: instruction, position: position, floor: floor))
                    }
                case .split(let preferred, let other):
                    alternatives.append(Alternative(instruction: other, position: position, floor: position))
                    instruction = preferred
                case .jump(let target): instruction = target
                case .look(let isNegative, let end):
                    hasFailed = (match(instruction + 1, at: position) != nil) == isNegative
                    instruction = end
                case .atomic(let end):
                    if let matchEnd = match(instruction + 1, at: position) {
                        position = matchEnd
                    } else {
                        hasFailed = true
                    }
                    instruction = end
                case .accept:
                    alternatives.removeLast(alternatives.count - base)
                    return position
                }
                look(upTo: position)
                if hasFailed {
                    guard alternatives.count > base, var alternative = alternatives.popLast() else { return nil }
                    if alternative.position > alternative.floor {
                        // Back by one scalar.
                        alternative.position -= 1
                        while text[alternative.position] & 0xC0 == 0x80 { alternative.position -= 1 }
                        if alternative.position > alternative.floor { alternatives.append(alternative) }
                    }
                    (instruction, position) = (alternative.instruction, alternative.position)
                }
            }
        }
    }
}
