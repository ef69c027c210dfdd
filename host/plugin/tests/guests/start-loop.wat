;; Never gets to its exports.
(func $describe (result i32) (i32.const 2048))
(func $run (param i32 i32) (result i32) (i32.const 512))
(func $forever (loop $forever (br $forever)))
(start $forever)
